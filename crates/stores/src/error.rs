//! Why there is no answer. An answer of the service, whatever its status, is no error here.

/// No text holds a URL, a header or a part of a body: they may name a bucket, or hold a credential.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Nobody there, or nobody whose certificate is trusted.
    #[error("no connection to the store ({0})")]
    Connect(String),
    /// Nothing moved for too long.
    #[error("the store has not answered for {0} seconds")]
    Stalled(u64),
    /// The connection ended in the middle of a request or an answer.
    #[error("the connection to the store broke ({0})")]
    Broken(String),
    /// The answer is longer than the caller takes.
    #[error("the store answered more than {0} bytes")]
    TooLong(usize),
    /// There is no credential, or the service that gives them out refused.
    #[error("no credential for the store could be had")]
    Credential,
    /// The caller's own settings make no sense.
    #[error("{0}")]
    Settings(String),
}

impl Error {
    /// The stable code, as Python sees it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Connect(_) => "net-connect",
            Self::Stalled(_) => "net-stalled",
            Self::Broken(_) => "net-broken",
            Self::TooLong(_) => "net-too-long",
            Self::Credential => "net-credential",
            Self::Settings(_) => "net-settings",
        }
    }

    /// Says what became of a request, by the innermost cause that the system or TLS gives a name to.
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        let cause = innermost(error);
        if error.is_connect() {
            Self::Connect(cause)
        } else if error.is_builder() {
            Self::Settings("the address of the store makes no request".to_owned())
        } else {
            Self::Broken(cause)
        }
    }
}

/// The innermost cause, if it is of a kind that holds no address; else a word for it.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut found = "no reason given".to_owned();
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            let untrusted = io
                .get_ref()
                .is_some_and(|inner| inner.to_string().contains("certificate"));
            found = if untrusted {
                "its certificate is not trusted".to_owned()
            } else {
                io.kind().to_string()
            };
        } else {
            let text = cause.to_string();
            for (part, word) in [
                ("certificate", "its certificate is not trusted"),
                ("dns error", "its name is not known"),
                ("tunnel", "the proxy refused"),
                ("timed out", "no answer in time"),
                (
                    "closed before message completed",
                    "closed before the answer was whole",
                ),
                (
                    "end of file before message",
                    "closed in the middle of the answer",
                ),
            ] {
                if text.contains(part) {
                    word.clone_into(&mut found);
                }
            }
        }
        next = cause.source();
    }
    found
}

#[cfg(test)]
mod tests {
    //! Every cause has a code of its own, and the innermost one that has a name is told.
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<dyn std::error::Error + 'static>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let mut found: Option<Box<dyn std::error::Error>> = None;
        for text in texts.iter().rev() {
            found = Some(Box::new(Layer {
                text,
                source: found,
            }));
        }
        Layer {
            text: "a request to http://secret.example/ failed",
            source: found,
        }
    }

    #[test]
    fn codes_are_stable() {
        let all = [
            (Error::Connect(String::new()), "net-connect"),
            (Error::Stalled(9), "net-stalled"),
            (Error::Broken(String::new()), "net-broken"),
            (Error::TooLong(9), "net-too-long"),
            (Error::Credential, "net-credential"),
            (Error::Settings(String::new()), "net-settings"),
        ];
        for (error, code) in all {
            assert_eq!(error.code(), code);
        }
    }

    #[test]
    fn the_innermost_cause_with_a_name_is_told_and_no_address() {
        assert_eq!(innermost(&layers(&[])), "no reason given");
        let known = [
            (
                "invalid peer certificate: UnknownIssuer",
                "its certificate is not trusted",
            ),
            (
                "dns error: no record of secret.example",
                "its name is not known",
            ),
            ("unsuccessful tunnel", "the proxy refused"),
            ("operation timed out", "no answer in time"),
            (
                "connection closed before message completed",
                "closed before the answer was whole",
            ),
            (
                "end of file before message length reached",
                "closed in the middle of the answer",
            ),
        ];
        for (text, word) in known {
            assert_eq!(innermost(&layers(&["secret.example", text])), word);
        }
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let wrapped = Layer {
            text: "http://secret.example/",
            source: Some(Box::new(refused)),
        };
        assert_eq!(innermost(&wrapped), "connection refused");
        let untrusted = std::io::Error::other("certificate of secret.example expired");
        let wrapped = Layer {
            text: "http://secret.example/",
            source: Some(Box::new(untrusted)),
        };
        assert_eq!(innermost(&wrapped), "its certificate is not trusted");
    }
}
