//! SCRAM-SHA-256 (RFC 5802, RFC 7677), both sides. Neither learns the password from the other: the
//! server keeps a verifier, the client proves that it knows the password and hears in the server's
//! last word that the server has its verifier.
//!
//! Without channel binding (gs2 header `n,,` or `y,,`), for MQTT runs where TLS may end elsewhere.

pub(crate) mod client;
pub(crate) mod server;

/// Authentication Method (MQTT 5 §4.12), and the name of the mechanism.
pub(crate) const METHOD: &str = "SCRAM-SHA-256";
/// Random bytes of a nonce; written in base64.
pub(crate) const NONCE: usize = 18;

/// A message that is not what RFC 5802 §7 has in this place, or a proof that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bad;

/// The value of an attribute: `r` of `r=…`.
fn value<'a>(name: &str, attribute: Option<&'a str>) -> Result<&'a str, Bad> {
    attribute.and_then(|text| text.strip_prefix(name)?.strip_prefix('=')).ok_or(Bad)
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;
    use crate::auth::password::verifier;

    /// RFC 7677 §3.
    const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn pencil() -> motegate_core::Verifier {
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        verifier(b"pencil", &salt, 4096)
    }

    #[test]
    fn the_servers_side_of_the_vectors() {
        let state = format!("{CLIENT_FIRST}\0{SERVER_FIRST}");
        let exchange = server::Exchange::read(state.as_bytes()).unwrap();
        assert_eq!(exchange.first.user, "user");
        let last = exchange.finish(&pencil(), CLIENT_FINAL.as_bytes());
        assert_eq!(last.as_deref(), Ok(SERVER_FINAL));
    }

    #[test]
    fn the_clients_side_of_the_vectors() {
        let first = client::Client::with_nonce("user", b"pencil", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(first.first(), CLIENT_FIRST);
        let (last, expected) = first.finish(SERVER_FIRST.as_bytes()).unwrap();
        assert_eq!(last, CLIENT_FINAL);
        assert_eq!(expected, SERVER_FINAL);
    }

    #[test]
    fn both_sides_agree_on_any_name_and_password() {
        for (user, password) in
            [("anna", "pencil"), ("a,b=c", "=,"), ("ü", "Ⅸ pass"), ("x", ""), ("=2C", "p")]
        {
            let verifier = verifier(password.as_bytes(), b"some salt", 3);
            let client = client::Client::with_nonce(user, password.as_bytes(), "abc");
            let first = client.first();
            let read = server::ClientFirst::read(first.as_bytes()).unwrap();
            assert_eq!(read.user, user);
            let (answer, state) = read.answer(&verifier, &[5; NONCE]);
            let (last, expected) = client.finish(answer.as_bytes()).unwrap();
            let exchange = server::Exchange::read(state.as_bytes()).unwrap();
            assert_eq!(exchange.finish(&verifier, last.as_bytes()), Ok(expected), "{user}");
        }
    }

    #[test]
    fn a_client_first_that_is_none_is_refused() {
        let good = ["n,,n=u,r=x", "y,,n=u,r=x", "n,a=u,n=u,r=x", "n,,n=u,r=x,ext=1", "n,,n=u,r=!~"];
        for text in good {
            assert!(server::ClientFirst::read(text.as_bytes()).is_ok(), "{text}");
        }
        for text in [
            "",
            "n",
            "n,,",
            "n=u,r=x",
            "p=tls-exporter,,n=u,r=x",
            "x,,n=u,r=x",
            "n,a=other,n=u,r=x",
            "n,b=u,n=u,r=x",
            "n,,m=ext,n=u,r=x",
            "n,,n=,r=x",
            "n,,n=u",
            "n,,n=u,r=",
            "n,,r=x,n=u",
            "n,,n=a=b,r=x",
            "n,,n=a=2D,r=x",
            "n,,n=u,r=a b",
            "n,,n=u,r=ä",
            "n,,n=u\0,r=x",
        ] {
            assert!(server::ClientFirst::read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(server::ClientFirst::read(b"n,,n=\xff,r=x").is_err());
    }

    #[test]
    fn a_client_final_that_is_wrong_is_refused() {
        let state = format!("{CLIENT_FIRST}\0{SERVER_FIRST}");
        let exchange = server::Exchange::read(state.as_bytes()).unwrap();
        for wrong in [
            "",
            "c=biws",
            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            &CLIENT_FINAL.replace("biws", "eSws"), // it was `n,,`
            &CLIENT_FINAL.replace("c=biws,", ""),
            &CLIENT_FINAL.replace("k0,p=", "k1,p="), // another nonce
            &CLIENT_FINAL.replace(",p=dHz", ",p=dHy"),
            &CLIENT_FINAL.replace("dVQ=", ""),
            &CLIENT_FINAL.replace(",p=", ",x=1,p="), // signed without it
            &format!("{CLIENT_FINAL},x=1"),
        ] {
            assert_eq!(exchange.finish(&pencil(), wrong.as_bytes()), Err(Bad), "{wrong}");
        }
        let other = verifier(b"pencils", &pencil().salt, 4096);
        assert_eq!(exchange.finish(&other, CLIENT_FINAL.as_bytes()), Err(Bad));
        assert!(server::Exchange::read(b"nothing").is_err());
    }

    #[test]
    fn a_client_is_careful_with_its_server() {
        let client = client::Client::with_nonce("user", b"pencil", "abc");
        for wrong in [
            "",
            "r=abc,s=QQ==,i=4096", // nothing of its own
            "r=xyz123,s=QQ==,i=4096",
            "r=abcd,s=,i=4096",
            "r=abcd,s=QQ,i=4096",
            "r=abcd,s=QQ==,i=0",
            "r=abcd,s=QQ==,i=99999999",
            "r=abcd,s=QQ==",
            "m=x,r=abcd,s=QQ==,i=4096",
            "e=other-error",
        ] {
            assert_eq!(client.finish(wrong.as_bytes()), Err(Bad), "{wrong}");
        }
        assert!(client.finish(b"r=abcd,s=QQ==,i=1,x=y").is_ok());
    }
}
