//! SCRAM-SHA-256 for an MQTT client: its words, and whether the server knows the password, too.

use motegate_mqtt::client::ClientConfig;
use motegate_mqtt::{Properties, Property};

use super::Error;
use crate::auth::scram::METHOD;
use crate::auth::scram::client::Client;

/// Who logs in.
pub(super) struct Scram {
    user: String,
    password: Vec<u8>,
    exchange: Option<Client>,
    /// The server's last word, if it knows the password.
    expected: String,
}

impl Scram {
    /// Takes name and password out of the settings, so that they are not sent as they are.
    pub(super) fn take(config: &mut ClientConfig) -> Result<Option<Self>, Error> {
        let Some(method) = &config.auth_method else { return Ok(None) };
        if method != METHOD {
            return Err(Error::usage(format!("the one method here is {METHOD}, not {method}")));
        }
        let (Some(user), Some(password)) = (config.user_name.take(), config.password.take()) else {
            return Err(Error::usage(format!("{METHOD} needs a user name and a password")));
        };
        let (exchange, expected) = (None, String::new());
        Ok(Some(Scram { user, password: password.0, exchange, expected }))
    }

    /// The next word.
    pub(super) fn answer(&mut self, data: Option<&[u8]>) -> Result<String, Error> {
        match (data, self.exchange.take()) {
            (None, _) => {
                let exchange = Client::new(&self.user, &self.password)
                    .map_err(|error| Error::Failed(format!("no random numbers: {error}")))?;
                let first = exchange.first();
                self.exchange = Some(exchange);
                Ok(first)
            }
            (Some(data), Some(exchange)) => {
                let text = "the server's part of the authentication makes no sense";
                let (last, expected) =
                    exchange.finish(data).map_err(|_| Error::Protocol(text.into()))?;
                self.expected = expected;
                Ok(last)
            }
            (Some(_), None) => Err(Error::Protocol("the server asks once more".into())),
        }
    }

    /// RFC 5802 §5: a client that does not look at the last word talks to anybody.
    pub(super) fn check(&mut self, properties: Properties<'_>) -> Result<(), Error> {
        let expected = std::mem::take(&mut self.expected);
        let said = properties.iter().find_map(|property| match property {
            Property::AuthenticationData(data) => Some(data),
            _ => None,
        });
        if expected.is_empty() || said != Some(expected.as_bytes()) {
            let text = "the server accepts, but has not proved that it knows the password";
            return Err(Error::Protocol(text.into()));
        }
        Ok(())
    }
}
