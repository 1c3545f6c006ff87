//! Messages of a conversation, a line each: from a person, who can edit and go back to earlier ones, or from a pipe.

use crate::Error;
use crate::errors::Cause;
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};
use std::io::{BufRead, IsTerminal};

/// Where messages come from.
pub(super) enum Messages {
    Person(Box<DefaultEditor>),
    Pipe,
}

impl Messages {
    /// Stdin, with a prompt where a person types into a terminal and reads text.
    pub(super) fn of_stdin(json: bool) -> Result<Self, Error> {
        if json || !std::io::stdin().is_terminal() {
            return Ok(Self::Pipe);
        }
        let config = Config::builder().auto_add_history(true).build();
        let editor = DefaultEditor::with_config(config).map_err(unreadable)?;
        Ok(Self::Person(Box::new(editor)))
    }

    /// The next message; nothing where there are no more.
    pub(super) fn next(&mut self) -> Result<Option<String>, Error> {
        match self {
            Self::Pipe => {
                let line = std::io::stdin().lock().lines().next();
                line.transpose().map_err(unreadable)
            }
            Self::Person(editor) => match editor.readline("> ") {
                Ok(line) => Ok(Some(line)),
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
                Err(error) => Err(unreadable(error)),
            },
        }
    }
}

fn unreadable(error: impl Into<Cause>) -> Error {
    Error::io("cannot read a message from stdin", error)
}
