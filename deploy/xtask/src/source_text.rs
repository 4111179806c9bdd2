//! Rust source with comments and literals blanked out, so that rules look at code only.
//!
//! Every character keeps its line and column: a place found in the blanked text is the same place in the file.

/// Replaces what is no code by blanks; line ends stay.
pub(crate) fn code_of(text: &str) -> String {
    let mut lexer = Lexer { rest: text.chars().collect(), place: 0, code: String::with_capacity(text.len()) };
    while lexer.place < lexer.rest.len() {
        lexer.step();
    }
    lexer.code
}

/// The number of the line that holds this byte, from 1.
pub(crate) fn line_of(text: &str, byte: usize) -> usize {
    text[..byte].matches('\n').count() + 1
}

struct Lexer {
    rest: Vec<char>,
    place: usize,
    code: String,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.place + ahead).copied().unwrap_or('\0')
    }

    fn keep(&mut self) {
        if let Some(letter) = self.rest.get(self.place) {
            self.code.push(*letter);
            self.place += 1;
        }
    }

    /// Nothing at the end of the text, where a literal may lack its own.
    fn blank(&mut self) {
        let Some(letter) = self.rest.get(self.place).copied() else {
            return;
        };
        // As many bytes as the letter has, so that byte positions agree too.
        let width = if letter == '\n' { 0 } else { letter.len_utf8() };
        self.code.extend(std::iter::repeat_n(' ', width));
        if letter == '\n' {
            self.code.push('\n');
        }
        self.place += 1;
    }

    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => {
                while self.place < self.rest.len() && self.peek(0) != '\n' {
                    self.blank();
                }
            }
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.letter_or_lifetime(),
            ('r' | 'b' | 'c', _) if !self.after_word() && self.raw_string() => {}
            _ => self.keep(),
        }
    }

    fn after_word(&self) -> bool {
        self.code.chars().next_back().is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.place < self.rest.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.blank();
                    continue;
                }
            }
            self.blank();
            self.blank();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.keep();
        while self.place < self.rest.len() && self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                self.blank();
            }
            self.blank();
        }
        self.keep();
    }

    /// `r"…"`, `r#"…"#`, `br#"…"#`; false, with nothing taken, if it is a word.
    fn raw_string(&mut self) -> bool {
        let prefix = (0..2).take_while(|ahead| matches!(self.peek(*ahead), 'r' | 'b' | 'c')).count();
        let hashes = (prefix..).take_while(|ahead| self.peek(*ahead) == '#').count();
        let raw = (0..prefix).any(|ahead| self.peek(ahead) == 'r');
        if !raw || self.peek(prefix + hashes) != '"' {
            return false;
        }
        for _ in 0..=prefix + hashes {
            self.keep();
        }
        while self.place < self.rest.len() {
            if self.peek(0) == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == '#') {
                for _ in 0..=hashes {
                    self.keep();
                }
                return true;
            }
            self.blank();
        }
        true
    }

    fn letter_or_lifetime(&mut self) {
        let is_letter = self.peek(1) == '\\' || self.peek(2) == '\'';
        self.keep();
        if !is_letter {
            return;
        }
        if self.peek(0) == '\\' {
            self.blank();
        }
        self.blank();
        while self.place < self.rest.len() && self.peek(0) != '\'' && self.peek(0) != '\n' {
            self.blank();
        }
        self.keep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let cases = [
            ("a // todo\nb", "a        \nb"),
            ("a /* x /* y */ z */ b", "a                   b"),
            (r#"f("a\"b", c)"#, r#"f("    ", c)"#),
            (r##"f(r#"a"b"#, c)"##, r##"f(r#"   "#, c)"##),
            (r#"f(b"x", br"y")"#, r#"f(b" ", br" ")"#),
            ("f('\"', 'a', '\\'', &'a str)", "f(' ', ' ', '  ', &'a str)"),
            ("'\\u{1F600}' x", "'         ' x"),
            ("for_each(\"\u{fc}\")", "for_each(\"  \")"),
        ];
        for (text, code) in cases {
            assert_eq!(code_of(text), code, "{text}");
            assert_eq!(code_of(text).len(), text.len(), "{text}");
        }
    }

    #[test]
    fn this_file_keeps_its_lines() {
        let text = include_str!("source_text.rs");
        let code = code_of(text);
        assert_eq!((code.len(), code.lines().count()), (text.len(), text.lines().count()));
        assert!(code.contains("fn raw_string(&mut self) -> bool") && !code.contains("comments and literals"));
    }

    #[test]
    fn unfinished_literals_end_with_the_text() {
        for text in ["\"abc", "r#\"abc", "/* abc", "'\\", "'"] {
            assert_eq!(code_of(text).len(), text.len(), "{text}");
        }
    }
}
