//! The time as `sub` writes it: UTC, from the wall clock in milliseconds.

use motegate_message::Wall;

/// A point in time, taken apart.
struct Parts {
    year: u64,
    month: u64,
    day: u64,
    /// Of the year, from 1.
    of_year: u64,
    hour: u64,
    minute: u64,
    second: u64,
    milli: u64,
}

impl Parts {
    fn of(wall: Wall) -> Self {
        let millis = wall.as_millis();
        let (days, time) = (millis / 86_400_000, millis % 86_400_000);
        let (year, month, day) = civil(days);
        let of_year = days - days_before(year) + 1;
        let (hour, minute) = (time / 3_600_000, time / 60_000 % 60);
        let (second, milli) = (time / 1000 % 60, time % 1000);
        Parts { year, month, day, of_year, hour, minute, second, milli }
    }
}

/// ISO 8601 in UTC with milliseconds, such as `2026-11-25T12:00:03.123Z`.
pub(super) fn timestamp(wall: Wall) -> String {
    let Parts { year, month, day, hour, minute, second, milli, .. } = Parts::of(wall);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The fields of strftime(3) that [`field`] knows, and mosquitto's `N`.
pub(super) const FIELDS: &str = "YymdjHMSNsFTzZ";

/// What strftime(3) writes for one of [`FIELDS`], in UTC; `N` are nanoseconds.
pub(super) fn field(field: char, wall: Wall) -> String {
    let Parts { year, month, day, of_year, hour, minute, second, milli } = Parts::of(wall);
    match field {
        'Y' => format!("{year:04}"),
        'y' => format!("{:02}", year % 100),
        'm' => format!("{month:02}"),
        'd' => format!("{day:02}"),
        'j' => format!("{of_year:03}"),
        'H' => format!("{hour:02}"),
        'M' => format!("{minute:02}"),
        'S' => format!("{second:02}"),
        'N' => format!("{milli:03}000000"),
        's' => (wall.as_millis() / 1000).to_string(),
        'F' => format!("{year:04}-{month:02}-{day:02}"),
        'T' => format!("{hour:02}:{minute:02}:{second:02}"),
        'z' => "+0000".to_owned(),
        'Z' => "UTC".to_owned(),
        _ => String::new(),
    }
}

/// Days from 1970 to the first of January.
fn days_before(year: u64) -> u64 {
    let before = year - 1;
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(before) - leaps(1969)
}

/// Year, month and day of a day since 1970: eras of 400 years that begin on 1 March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // from March
    let (date, january) = (day - (153 * month + 2) / 5 + 1, month >= 10);
    (era * 400 + year + u64::from(january), if january { month - 9 } else { month + 3 }, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted() {
        let at = |millis| timestamp(Wall::from_millis(millis));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(at(1_795_651_200_001), "2026-11-26T00:00:00.001Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn fields_are_those_of_strftime() {
        let all = |millis| {
            let wall = Wall::from_millis(millis);
            FIELDS.chars().map(|char| field(char, wall)).collect::<Vec<_>>().join(" ")
        };
        // date -u -d @1709251199 '+%Y %y %m %d %j %H %M %S …'
        let expected =
            "2024 24 02 29 060 23 59 59 999000000 1709251199 2024-02-29 23:59:59 +0000 UTC";
        assert_eq!(all(1_709_251_199_999), expected);
        assert!(all(1_735_603_200_000).starts_with("2024 24 12 31 366 00"), "a leap year's end");
        assert!(all(0).starts_with("1970 70 01 01 001 00"));
    }
}
