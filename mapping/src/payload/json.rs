//! JSON (RFC 8259), with exact numbers and bounded nesting.
//!
//! On an event parser that hands out the digits of each number, so that none passes through binary
//! floating point; nothing here recurses on the input. A key that stands twice in one object is an
//! error where an object is read; [`check`] of a payload that goes through as it is looks at the
//! syntax only and holds no values.
//!
//! Left out: a byte order mark is not taken (§8.1).

use std::borrow::Cow;

use json_event_parser::{JsonEvent, LowLevelJsonParser, LowLevelJsonSerializer};

use super::error::{Fault, Problem};
use super::value::duplicate;
use super::{Key, Limits, Number, NumberError, Value, WriteError};

/// Events with the byte that each ends at.
struct Events<'a> {
    input: &'a [u8],
    at: usize,
    depth: usize,
    max_depth: usize,
    parser: LowLevelJsonParser,
}

impl<'a> Events<'a> {
    fn new(input: &'a [u8], max_depth: usize) -> Result<Self, Fault> {
        if input.starts_with(b"\xef\xbb\xbf") {
            let text = "a byte order mark stands in front of the JSON text".into();
            return Err(Fault::byte(0, Problem::Syntax(text)));
        }
        let parser = LowLevelJsonParser::new().with_max_stack_size(max_depth.saturating_add(1));
        Ok(Events { input, at: 0, depth: 0, max_depth, parser })
    }

    fn next(&mut self) -> Result<JsonEvent<'a>, Fault> {
        let input: &'a [u8] = self.input;
        loop {
            let rest = input.get(self.at..).unwrap_or_default();
            let result = self.parser.parse_next(rest, true);
            self.at += result.consumed_bytes;
            match result.event {
                Some(Ok(event)) => {
                    match event {
                        JsonEvent::StartArray | JsonEvent::StartObject => self.depth += 1,
                        JsonEvent::EndArray | JsonEvent::EndObject => {
                            self.depth = self.depth.saturating_sub(1);
                        }
                        _ => {}
                    }
                    if self.depth > self.max_depth {
                        return Err(self.fault(Problem::TooDeep(self.max_depth)));
                    }
                    return Ok(event);
                }
                Some(Err(e)) => {
                    let offset = usize::try_from(e.location().start.offset).unwrap_or(self.at);
                    return Err(Fault::byte(offset, Problem::Syntax(e.message().to_owned())));
                }
                // Nothing is said only if more could come, and all is there.
                None if result.consumed_bytes > 0 => {}
                None => {
                    let text = "the text ends too early".into();
                    return Err(self.fault(Problem::Syntax(text)));
                }
            }
        }
    }

    fn fault(&self, problem: Problem) -> Fault {
        Fault::byte(self.at, problem)
    }
}

/// Whether it is one JSON text, without holding any of it.
///
/// # Errors
/// What is wrong, at which byte.
pub(super) fn check(input: &[u8], limits: &Limits) -> Result<(), Fault> {
    let mut events = Events::new(input, limits.depth)?;
    while events.next()? != JsonEvent::Eof {}
    Ok(())
}

/// A list or an object that is not complete.
enum Open<'a> {
    Array(Vec<Value<'a>>),
    Map(Vec<(Key<'a>, Value<'a>)>, Option<Cow<'a, str>>),
}

/// Reads one JSON text.
///
/// # Errors
/// What is wrong, at which byte.
pub(super) fn read<'a>(input: &'a [u8], limits: &Limits) -> Result<Value<'a>, Fault> {
    let mut events = Events::new(input, limits.depth)?;
    let mut open: Vec<Open<'a>> = Vec::new();
    let mut done = None;
    let mut count = 0usize;
    loop {
        let value =
            match events.next()? {
                JsonEvent::Eof => break,
                JsonEvent::ObjectKey(name) => {
                    if let Some(Open::Map(_, key)) = open.last_mut() {
                        *key = Some(name);
                    }
                    continue;
                }
                JsonEvent::StartArray => {
                    open.push(Open::Array(Vec::new()));
                    continue;
                }
                JsonEvent::StartObject => {
                    open.push(Open::Map(Vec::new(), None));
                    continue;
                }
                JsonEvent::EndArray | JsonEvent::EndObject => match open.pop() {
                    Some(Open::Array(list)) => Value::Array(list),
                    Some(Open::Map(map, _)) => {
                        if let Some(key) = duplicate(&map) {
                            return Err(events.fault(Problem::DuplicateKey(key.to_string())));
                        }
                        Value::Map(map)
                    }
                    None => return Err(events.fault(Problem::Trailing)),
                },
                JsonEvent::Null => Value::Null,
                JsonEvent::Boolean(value) => Value::Bool(value),
                JsonEvent::String(text) => Value::Text(text),
                JsonEvent::Number(text) => Value::Number(number(&text).map_err(|problem| {
                    Fault::byte(events.at.saturating_sub(text.len()), problem)
                })?),
            };
        count += 1;
        if count > limits.values {
            return Err(events.fault(Problem::TooMany(limits.values)));
        }
        match open.last_mut() {
            None => done = Some(value),
            Some(Open::Array(list)) => list.push(value),
            Some(Open::Map(map, key)) => {
                map.push((Key::Text(key.take().unwrap_or_default()), value));
            }
        }
    }
    done.ok_or_else(|| events.fault(Problem::Syntax("there is no value".into())))
}

fn number(text: &str) -> Result<Number, Problem> {
    Number::parse(text).map_err(|error| match error {
        NumberError::Range => Problem::TooPrecise,
        NumberError::Syntax => Problem::Syntax("a number is written otherwise".into()),
    })
}

/// Writes a JSON text without white space, keys in their order.
///
/// # Errors
/// What JSON cannot say, or too much of it.
pub(super) fn write(value: &Value<'_>, limits: &Limits) -> Result<Vec<u8>, WriteError> {
    let mut writer = Writer { out: Vec::new(), serializer: LowLevelJsonSerializer::new(), limits };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer<'l> {
    out: Vec<u8>,
    serializer: LowLevelJsonSerializer,
    limits: &'l Limits,
}

impl Writer<'_> {
    fn event(&mut self, event: JsonEvent<'_>) -> Result<(), WriteError> {
        // Into memory, and in the order of a value: there is nothing that it could refuse.
        let written = self.serializer.serialize_event(event, &mut self.out);
        written.map_err(|e| Fault::whole(Problem::Syntax(e.to_string())))?;
        match self.out.len() > self.limits.output {
            true => Err(WriteError::TooLarge),
            false => Ok(()),
        }
    }

    /// Recursion is bounded by the limit on depth.
    fn value(&mut self, value: &Value<'_>, depth: usize) -> Result<(), WriteError> {
        match value {
            Value::Null => self.event(JsonEvent::Null),
            Value::Bool(value) => self.event(JsonEvent::Boolean(*value)),
            Value::Number(number) => self.event(JsonEvent::Number(number.to_string().into())),
            Value::Text(text) => self.event(JsonEvent::String(Cow::Borrowed(text))),
            Value::Bytes(_) => Err(no_counterpart("bytes")),
            Value::Array(_) | Value::Map(_) if depth == self.limits.depth => {
                Err(Fault::whole(Problem::TooDeep(depth)).into())
            }
            Value::Array(list) => {
                self.event(JsonEvent::StartArray)?;
                for (i, item) in list.iter().enumerate() {
                    self.value(item, depth + 1).map_err(|e| e.map(|fault| fault.below_index(i)))?;
                }
                self.event(JsonEvent::EndArray)
            }
            Value::Map(map) => {
                self.event(JsonEvent::StartObject)?;
                for (key, item) in map {
                    let Key::Text(name) = key else {
                        return Err(no_counterpart("integer keys").map(|fault| fault.below(key)));
                    };
                    self.event(JsonEvent::ObjectKey(Cow::Borrowed(name)))?;
                    self.value(item, depth + 1).map_err(|e| e.map(|fault| fault.below(key)))?;
                }
                self.event(JsonEvent::EndObject)
            }
        }
    }
}

fn no_counterpart(what: &'static str) -> WriteError {
    Fault::whole(Problem::NoCounterpart { what, target: "JSON" }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(text: &str) -> String {
        let limits = Limits::default();
        let value = read(text.as_bytes(), &limits).unwrap_or_else(|e| panic!("{text}: {e}"));
        check(text.as_bytes(), &limits).unwrap();
        String::from_utf8(write(&value, &limits).unwrap()).unwrap()
    }

    fn fault(text: impl AsRef<[u8]>) -> String {
        read(text.as_ref(), &Limits::default()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_read_is_written() {
        for text in [
            "null",
            r#"{"v":21.5}"#,
            r#"{"b":1,"a":[true,false,{}],"":[]}"#,
            r#""\u0000\t\"\\/ é😀""#,
            "18446744073709551615",
            "-9223372036854775808",
            "0.1000000000000000055511151231257827",
            "123456789012345678901234567890",
        ] {
            assert_eq!(again(text), text);
        }
        assert_eq!(
            again(" { \"a\" : 1.50 ,\n\"b\" : \"\\ud83d\\ude00\\/\" } "),
            r#"{"a":1.5,"b":"😀/"}"#
        );
    }

    #[test]
    fn each_mistake_is_named_at_its_byte() {
        for (text, said) in [
            ("", "byte 0: "),
            ("{\"a\":1,}", "byte 7: "),
            ("[1 2]", "byte 3: "),
            ("1 2", "byte 2: "),
            ("{\"a\":1,\"b\":2,\"a\":3}", "byte 19: the key \"a\" stands twice"),
            ("[1,1e5000]", "byte 3: the number has more digits than can be kept"),
            ("\u{feff}1", "byte 0: a byte order mark"),
            ("NaN", "byte 0: "),
            ("\"\\ud800\"", "byte "),
            ("\"a\nb\"", "byte "),
        ] {
            let fault = fault(text);
            assert!(fault.starts_with(said), "{text:?}: {fault}");
        }
        assert!(fault(b"\"\xff\"").starts_with("byte 1: "));
    }

    #[test]
    fn nesting_and_number_of_values_are_bounded() {
        let limits = Limits { depth: 3, values: 5, output: 10 };
        assert!(read(b"[[[1]]]", &limits).is_ok());
        assert_eq!(*read(b"[[[[1]]]]", &limits).unwrap_err().problem, Problem::TooDeep(3));
        assert_eq!(*check(b"[[[[1]]]]", &limits).unwrap_err().problem, Problem::TooDeep(3));
        assert_eq!(
            *check(&b"[".repeat(100_000), &limits).unwrap_err().problem,
            Problem::TooDeep(3)
        );
        assert!(read(b"[1,1,1,1]", &limits).is_ok());
        assert_eq!(*read(b"[1,1,1,1,1]", &limits).unwrap_err().problem, Problem::TooMany(5));
        let long = Value::text("123456789");
        assert_eq!(write(&long, &limits), Err(WriteError::TooLarge));
        assert_eq!(write(&Value::text("12345678"), &limits).map(|out| out.len()), Ok(10));
    }

    #[test]
    fn what_json_cannot_say_is_named() {
        let bytes =
            Value::map([("a", Value::Array(vec![Value::Null, Value::Bytes(vec![1].into())]))]);
        let Err(WriteError::Fault(fault)) = write(&bytes, &Limits::default()) else { panic!() };
        assert_eq!(fault.to_string(), "a[1]: bytes have no counterpart in JSON");
        let keys = Value::map([("a", Value::Map(vec![(Key::Int(-7), Value::Null)]))]);
        let Err(WriteError::Fault(fault)) = write(&keys, &Limits::default()) else { panic!() };
        assert_eq!(fault.to_string(), "a.-7: integer keys have no counterpart in JSON");
    }
}
