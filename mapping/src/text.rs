//! [`Text`]: where a topic is put together, on the stack unless it is long.

/// A growing text; up to 256 bytes it allocates nothing.
pub(crate) struct Text {
    inline: [u8; 256],
    len: usize,
    /// Where the topic begins: behind the mount.
    begin: usize,
    /// Holds everything once the inline part is too small.
    spill: String,
}

impl Text {
    pub(crate) fn new() -> Self {
        Text { inline: [0; 256], len: 0, begin: 0, spill: String::new() }
    }

    /// What is there is the mount.
    pub(crate) fn begin_topic(&mut self) {
        self.begin = self.len();
    }

    /// Whether nothing of the topic is there yet.
    pub(crate) fn is_at_begin(&self) -> bool {
        self.len() == self.begin
    }

    pub(crate) fn push_str(&mut self, text: &str) {
        let end = self.len + text.len();
        match self.inline.get_mut(self.len..end) {
            Some(room) if self.spill.is_empty() => {
                room.copy_from_slice(text.as_bytes());
                self.len = end;
            }
            _ => {
                if self.spill.is_empty() {
                    self.spill = self.as_str().to_owned();
                }
                self.spill.push_str(text);
            }
        }
    }

    pub(crate) fn push(&mut self, c: char) {
        self.push_str(c.encode_utf8(&mut [0; 4]));
    }

    pub(crate) fn as_str(&self) -> &str {
        if !self.spill.is_empty() {
            return &self.spill;
        }
        str::from_utf8(&self.inline[..self.len]).expect("only whole texts are appended")
    }

    pub(crate) fn len(&self) -> usize {
        if self.spill.is_empty() { self.len } else { self.spill.len() }
    }
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spills_without_losing_anything() {
        let mut text = Text::new();
        let mut model = String::new();
        for i in 0..100 {
            text.push_str(&"äb"[..(i % 2) * 2]);
            text.push('é');
            model.push_str(&"äb"[..(i % 2) * 2]);
            model.push('é');
            assert_eq!((text.as_str(), text.len()), (model.as_str(), model.len()));
        }
        text.push_str(&"x".repeat(300));
        model.push_str(&"x".repeat(300));
        assert_eq!(text.as_str(), model);
    }
}
