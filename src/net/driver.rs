//! The names of the drivers, as settings and logs spell them.

use std::fmt;
use std::str::FromStr;

/// Who turns a shard's event loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// glommio's executor, which sleeps on an io_uring.
    Uring,
    /// Our own executor; no io_uring system call at all.
    Epoll,
}

/// What `net.driver` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring if the kernel grants it, else epoll.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll, whatever the kernel grants.
    Epoll,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Driver::Uring => "uring",
            Driver::Epoll => "epoll",
        })
    }
}

impl FromStr for DriverChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => Ok(DriverChoice::Auto),
            "uring" => Ok(DriverChoice::Uring),
            "epoll" => Ok(DriverChoice::Epoll),
            _ => Err(format!("unknown driver {text:?}, choose auto, uring or epoll")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read_without_regard_to_case() {
        assert_eq!("auto".parse(), Ok(DriverChoice::Auto));
        assert_eq!(" Uring ".parse(), Ok(DriverChoice::Uring));
        assert_eq!("EPOLL".parse(), Ok(DriverChoice::Epoll));
    }

    #[test]
    fn an_unknown_choice_names_the_known_ones() {
        assert_eq!(
            "kqueue".parse::<DriverChoice>(),
            Err("unknown driver \"kqueue\", choose auto, uring or epoll".to_owned())
        );
    }
}
