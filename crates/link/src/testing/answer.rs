//! What a server answers, as RESP2 writes it.

use std::io::{BufRead, Result};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// A status, an error or a number, with the sign it begins with.
    Line(String),
    Bulk(String),
    Nothing,
    Many(Vec<Answer>),
}

impl Answer {
    pub(super) fn read(stream: &mut impl BufRead) -> Result<Self> {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim_end();
        let length = |text: &str| text.parse::<usize>().ok();
        Ok(match line.split_at_checked(1) {
            Some(("$", text)) => match length(text) {
                Some(length) => {
                    let mut bytes = vec![0; length + 2];
                    stream.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Self::Bulk(String::from_utf8_lossy(&bytes).into_owned())
                }
                None => Self::Nothing,
            },
            Some(("*", text)) => match length(text) {
                Some(count) => Self::Many((0..count).map(|_| Self::read(stream)).collect::<Result<_>>()?),
                None => Self::Nothing,
            },
            _ => Self::Line(line.to_owned()),
        })
    }

    /// The answer where it is one text.
    pub(super) fn text(self) -> String {
        match self {
            Self::Line(text) | Self::Bulk(text) => text,
            Self::Nothing | Self::Many(_) => String::new(),
        }
    }

    /// The parts of an answer that has several.
    pub(super) fn many(self) -> Vec<Self> {
        match self {
            Self::Many(answers) => answers,
            _ => Vec::new(),
        }
    }
}
