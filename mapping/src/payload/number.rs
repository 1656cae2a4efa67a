//! [`Number`]: an exact decimal, so that no digit is lost or invented on the way through.
//!
//! `0x0866` with `scale: 0.01` is `21.5`, not `21.500000000000004`; a 64-bit counter keeps its last
//! digit. Whatever cannot be held (beyond 128 bits of digits, or a result that would have to be
//! rounded) is an error of its caller, never another number.
//!
//! A binary float is taken as the shortest decimal that reads back as it, which is what JSON writers
//! print (RFC 8949 §6.1); the way back accepts a decimal only if it is that shortest one. Whether an
//! integral number was written as a float is kept, though equal numbers are equal: `21.0` is a float
//! in CBOR and `21` an integer, and a device's decoder may insist on either.

use std::fmt;

/// An exact decimal: `± coefficient × 10^exponent`, always in lowest terms. Zero has a sign, as in
/// JSON and IEEE 754: `-0` and `0` differ.
#[derive(Debug, Clone, Copy, Default)]
pub struct Number {
    negative: bool,
    /// Written as a float; says something about integral numbers only.
    float: bool,
    coefficient: u128,
    exponent: i32,
}

/// Of the numbers, not of how they were written.
impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        (self.negative, self.coefficient, self.exponent)
            == (other.negative, other.coefficient, other.exponent)
    }
}

impl Eq for Number {}

/// Why a text is no [`Number`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberError {
    /// It is not written as JSON writes numbers.
    Syntax,
    /// More digits or a larger exponent than are held.
    Range,
}

/// Largest power of ten, either way; far beyond binary64.
const MAX_EXPONENT: i32 = 1_000;

impl Number {
    /// 0.
    pub const ZERO: Number = Number::small(0);
    /// 1.
    pub const ONE: Number = Number::small(1);

    const fn small(digit: u128) -> Number {
        Number { negative: false, float: false, coefficient: digit, exponent: 0 }
    }

    /// In lowest terms; `None` beyond [`MAX_EXPONENT`].
    fn new(negative: bool, mut coefficient: u128, exponent: i64) -> Option<Number> {
        if coefficient == 0 {
            return Some(Number { negative, ..Number::ZERO });
        }
        let mut exponent = exponent;
        while coefficient.is_multiple_of(10) {
            coefficient /= 10;
            exponent += 1;
        }
        let exponent = i32::try_from(exponent).ok()?;
        (exponent.abs() <= MAX_EXPONENT).then_some(Number {
            negative,
            float: false,
            coefficient,
            exponent,
        })
    }

    pub(super) const fn as_float(mut self, float: bool) -> Number {
        self.float = float && self.exponent >= 0;
        self
    }

    /// The integer `± magnitude`; `-0` is 0.
    #[must_use]
    pub fn integer(negative: bool, magnitude: u128) -> Number {
        let negative = negative && magnitude != 0;
        // At most 39 digits: the exponent is in range.
        Number::new(negative, magnitude, 0).unwrap_or_default()
    }

    /// 10^exponent; `None` beyond the range.
    #[must_use]
    pub fn power_of_ten(exponent: i32) -> Option<Number> {
        Number::new(false, 1, i64::from(exponent))
    }

    /// Reads a number as JSON writes it (RFC 8259 §6).
    ///
    /// # Errors
    /// Another syntax, or more than can be held exactly.
    pub fn parse(text: &str) -> Result<Number, NumberError> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], parse_exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return Err(NumberError::Syntax),
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(NumberError::Syntax);
        }
        let digits = || whole.bytes().chain(fraction.bytes());
        if !digits().all(|digit| digit.is_ascii_digit()) {
            return Err(NumberError::Syntax);
        }
        let (mut coefficient, mut zeros, mut beyond) = (0u128, 0u32, false);
        for digit in digits() {
            if digit == b'0' {
                zeros = zeros.saturating_add(1);
                continue;
            }
            let shifted = match coefficient {
                0 => Some(0),
                some => 10u128.checked_pow(zeros + 1).and_then(|by| some.checked_mul(by)),
            };
            let sum = shifted.and_then(|held| held.checked_add(u128::from(digit - b'0')));
            match sum {
                Some(sum) => coefficient = sum,
                None => beyond = true,
            }
            zeros = 0;
        }
        if beyond {
            return Err(NumberError::Range);
        }
        let places = i64::try_from(fraction.len()).map_err(|_| NumberError::Range)?;
        let exponent = exponent.saturating_sub(places).saturating_add(i64::from(zeros));
        let number = Number::new(negative, coefficient, exponent).ok_or(NumberError::Range)?;
        Ok(number.as_float(!fraction.is_empty()))
    }

    /// The number that a binary64 stands for; `None` if it is not finite.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Number> {
        if !value.is_finite() {
            return None;
        }
        Number::parse(&format!("{value:e}")).ok().map(|number| number.as_float(true))
    }

    /// The number that a binary32 stands for: its own shortest decimal, not that of the binary64
    /// that it widens to. For fields that are known to be binary32.
    #[must_use]
    pub fn from_f32(value: f32) -> Option<Number> {
        if !value.is_finite() {
            return None;
        }
        Number::parse(&format!("{value:e}")).ok().map(|number| number.as_float(true))
    }

    /// The binary64 that reads back as this number; `None` if there is none.
    #[must_use]
    pub fn to_f64(&self) -> Option<f64> {
        let value: f64 = self.scientific().parse().ok()?;
        (Number::from_f64(value).as_ref() == Some(self)).then_some(value)
    }

    /// The binary32 that reads back as this number; `None` if there is none.
    #[must_use]
    pub fn to_f32(&self) -> Option<f32> {
        let value: f32 = self.scientific().parse().ok()?;
        (Number::from_f32(value).as_ref() == Some(self)).then_some(value)
    }

    /// The nearest binary64, for comparisons in messages.
    pub(super) fn approx(&self) -> f64 {
        self.scientific().parse().unwrap_or(0.0)
    }

    fn scientific(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}{}e{}", self.coefficient, self.exponent)
    }

    /// Sign and magnitude of an integer below 2^128; `None` for others and for `-0`.
    #[must_use]
    pub fn to_integer(&self) -> Option<(bool, u128)> {
        if self.coefficient == 0 {
            return (!self.negative).then_some((false, 0));
        }
        let by = 10u128.checked_pow(u32::try_from(self.exponent).ok()?)?;
        Some((self.negative, self.coefficient.checked_mul(by)?))
    }

    /// An integer that fits; `None` for others and for `-0`.
    #[must_use]
    pub fn to_i128(&self) -> Option<i128> {
        let (negative, magnitude) = self.to_integer()?;
        match negative {
            false => i128::try_from(magnitude).ok(),
            true => 0i128.checked_sub_unsigned(magnitude),
        }
    }

    /// Whether it has a minus; so has -0.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.negative
    }

    /// Significant digits; 0 has one.
    pub(super) fn digits(&self) -> usize {
        self.coefficient.checked_ilog10().map_or(1, |log| log as usize + 1)
    }

    pub(super) const fn exponent(&self) -> i32 {
        self.exponent
    }

    /// Whether it was written as a float: `21.0`, not `21`.
    #[must_use]
    pub const fn is_float(&self) -> bool {
        self.float
    }

    /// Whether it is 0 or -0.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.coefficient == 0
    }

    /// The exact sum; `None` if it cannot be held.
    #[must_use]
    pub fn checked_add(&self, other: &Number) -> Option<Number> {
        if self.is_zero() || other.is_zero() {
            return Some(match (self.is_zero(), other.is_zero()) {
                (true, true) => {
                    Number { negative: self.negative && other.negative, ..Number::ZERO }
                }
                (true, false) => *other,
                _ => *self,
            });
        }
        let (exponent, float) = (self.exponent.min(other.exponent), self.float || other.float);
        let aligned = |one: &Number| {
            let by = 10u128.checked_pow(u32::try_from(one.exponent - exponent).ok()?)?;
            one.coefficient.checked_mul(by)
        };
        let (a, b) = (aligned(self)?, aligned(other)?);
        let (negative, sum) = match self.negative == other.negative {
            true => (self.negative, a.checked_add(b)?),
            false if a >= b => (self.negative && a != b, a - b),
            false => (other.negative, b - a),
        };
        Some(Number::new(negative, sum, i64::from(exponent))?.as_float(float))
    }

    /// The exact difference; `None` if it cannot be held.
    #[must_use]
    pub fn checked_sub(&self, other: &Number) -> Option<Number> {
        self.checked_add(&Number { negative: !other.negative, ..*other })
    }

    /// The exact product; `None` if it cannot be held.
    #[must_use]
    pub fn checked_mul(&self, other: &Number) -> Option<Number> {
        let coefficient = self.coefficient.checked_mul(other.coefficient)?;
        let exponent = i64::from(self.exponent) + i64::from(other.exponent);
        Number::new(self.negative != other.negative, coefficient, exponent)
    }

    /// The quotient if it is an integer; `None` for others, and for a divisor of 0.
    #[must_use]
    pub fn exact_quotient(&self, divisor: &Number) -> Option<i128> {
        if divisor.is_zero() {
            return None;
        }
        if self.is_zero() {
            return Some(0);
        }
        let by = self.exponent - divisor.exponent;
        let power = 10u128.checked_pow(by.unsigned_abs());
        let (upper, lower) = match by >= 0 {
            // Coprime parts first, so that nothing overflows that does not have to.
            true => {
                let common = gcd(self.coefficient, divisor.coefficient);
                let (upper, lower) = (self.coefficient / common, divisor.coefficient / common);
                (upper.checked_mul(power?)?, lower)
            }
            false => (self.coefficient, divisor.coefficient.checked_mul(power?)?),
        };
        if upper % lower != 0 {
            return None;
        }
        let quotient = i128::try_from(upper / lower).ok()?;
        Some(if self.negative == divisor.negative { quotient } else { -quotient })
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Digits after the `e`, saturating: a sum beyond the range is found later.
fn parse_exponent(text: &str) -> Result<i64, NumberError> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NumberError::Syntax);
    }
    let magnitude = digits.iter().fold(0i64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')).min(1 << 40)
    });
    Ok(if negative { -magnitude } else { magnitude })
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Number::integer(false, u128::from(value))
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Number::integer(value < 0, u128::from(value.unsigned_abs()))
    }
}

impl From<i128> for Number {
    fn from(value: i128) -> Self {
        Number::integer(value < 0, value.unsigned_abs())
    }
}

/// As JSON writes it: plain where the point is at most 39 digits (as many as 128 bits have; 21 for a
/// float) from the first and at most 6 zeros stand behind it, else with an exponent. A float always
/// has a point, so that it is one when it is read again.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        let digits = self.coefficient.to_string();
        let len = i32::try_from(digits.len()).unwrap_or(i32::MAX);
        let point = len + self.exponent; // digits before the point
        let most = if self.float { 21 } else { 39 };
        let integral = if self.float { ".0" } else { "" };
        match (-6..=most).contains(&point) {
            true if self.exponent >= 0 => {
                f.write_str(&digits)?;
                (0..self.exponent).try_for_each(|_| f.write_str("0"))?;
                f.write_str(integral)
            }
            true if point > 0 => {
                let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
                write!(f, "{whole}.{fraction}")
            }
            true => {
                f.write_str("0.")?;
                (point..0).try_for_each(|_| f.write_str("0"))?;
                f.write_str(&digits)
            }
            false => match digits.split_at(1) {
                (first, "") => write!(f, "{first}{integral}e{}", point - 1),
                (first, rest) => write!(f, "{first}.{rest}e{}", point - 1),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn is_written_as_it_is_read() {
        for (text, written) in [
            ("0", "0"),
            ("-0", "-0"),
            ("-0.0e9", "-0.0"),
            ("21.0", "21.0"),
            ("1.0e22", "1.0e22"),
            ("1e-9", "1e-9"),
            ("1.0e-9", "1e-9"),
            ("12.0e19", "120000000000000000000.0"),
            ("21.50", "21.5"),
            ("1e3", "1000"),
            ("1E+21", "1000000000000000000000"),
            ("1E+39", "1e39"),
            ("123e18", "123000000000000000000"),
            ("0.000001", "0.000001"),
            ("0.0000001", "0.0000001"),
            ("0.00000001", "1e-8"),
            ("1.25e-9", "1.25e-9"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("340282366920938463463374607431768211455", "340282366920938463463374607431768211455"),
            ("100000000000000000000000000000000000000000000", "1e44"),
            ("1.276020076001e+09", "1276020076.001"),
        ] {
            assert_eq!(number(text).to_string(), written, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_number_or_too_much() {
        for text in ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "NaN", "1 ", "1_0", "é"]
        {
            assert_eq!(Number::parse(text), Err(NumberError::Syntax), "{text:?}");
        }
        for text in ["1e1001", "1e-1001", "1e99999999999999999999", &"123456789".repeat(5)] {
            assert_eq!(Number::parse(text), Err(NumberError::Range), "{text:?}");
        }
        assert_eq!(number("0e99999999999999999999"), Number::ZERO);
    }

    #[test]
    fn floats_are_taken_for_what_they_print() {
        assert_eq!(Number::from_f64(0.1), Some(number("0.1")));
        assert_eq!(Number::from_f64(f64::from(0.1f32)), Some(number("0.10000000149011612")));
        assert_eq!(Number::from_f32(0.1), Some(number("0.1")));
        assert_eq!(
            Number::from_f64(9_223_372_036_854_775_808.0),
            Some(number("9223372036854776000"))
        );
        assert_eq!(Number::from_f64(f64::MAX).and_then(|n| n.to_f64()), Some(f64::MAX));
        assert_eq!(Number::from_f64(5e-324).map(|n| n.to_string()), Some("5e-324".into()));
        assert_eq!((Number::from_f64(f64::NAN), Number::from_f32(f32::INFINITY)), (None, None));
        assert!(Number::from_f64(-0.0).unwrap().to_f64().unwrap().is_sign_negative());
        for text in ["0.1234567890123456789", "1e400", "9007199254740993", "1e-400"] {
            assert_eq!(number(text).to_f64(), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_is_exact() {
        assert_eq!(number("2150").checked_mul(&number("0.01")), Some(number("21.5")));
        assert_eq!(number("0.1").checked_add(&number("0.2")), Some(number("0.3")));
        assert_eq!(number("-40").checked_add(&number("40")), Some(Number::ZERO));
        assert_eq!(
            number("1e30").checked_sub(&number("1")),
            Some(number("999999999999999999999999999999"))
        );
        assert_eq!(number("1e300").checked_add(&number("1")), None, "not rounded");
        assert_eq!(number("3.3").exact_quotient(&number("0.02")), Some(165));
        assert_eq!(number("3.31").exact_quotient(&number("0.02")), None);
        assert_eq!(number("-1").exact_quotient(&number("0.25")), Some(-4));
        assert_eq!(number("1").exact_quotient(&Number::ZERO), None);
        assert_eq!(number("-0").exact_quotient(&number("3")), Some(0));
    }

    proptest! {
        #[test]
        fn text_is_stable(negative: bool, coefficient: u128, exponent in -900i64..900) {
            let one = Number::new(negative, coefficient, exponent).unwrap();
            prop_assert_eq!(Number::parse(&one.to_string()), Ok(one));
        }

        #[test]
        fn every_finite_float_comes_back(bits: u64, small: u32) {
            if let Some(number) = Number::from_f64(f64::from_bits(bits)) {
                prop_assert_eq!(number.to_f64().map(f64::to_bits), Some(bits));
                // What a JSON reader makes of the text.
                prop_assert_eq!(number.to_string().parse::<f64>().map(f64::to_bits), Ok(bits));
            }
            if let Some(number) = Number::from_f32(f32::from_bits(small)) {
                prop_assert_eq!(number.to_f32().map(f32::to_bits), Some(small));
            }
        }

        #[test]
        fn quotients_undo_products(raw in any::<i64>(), coefficient in 1u64.., exponent in -9i64..9) {
            let scale = Number::new(false, u128::from(coefficient), exponent).unwrap();
            if let Some(product) = Number::from(raw).checked_mul(&scale) {
                prop_assert_eq!(product.exact_quotient(&scale), Some(i128::from(raw)));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9.eE]{0,60}") {
            if let Ok(number) = Number::parse(&text) {
                prop_assert_eq!(Number::parse(&number.to_string()), Ok(number));
            }
        }
    }
}
