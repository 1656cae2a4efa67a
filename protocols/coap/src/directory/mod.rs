//! Registering at a resource directory (RFC 9176): the side of the endpoint that registers its links.
//!
//! [`Registration`] is a machine: it says what is to be done next ([`Action`]) and is told what came of
//! it; it has a deadline where there is nothing to do. It finds the registration resource (§4.3),
//! registers (§5), renews before the lifetime ends (§5.3.1), registers anew when links have changed or
//! the directory has forgotten it, and removes the registration in the end (§5.3.2). A directory that
//! does not answer or refuses is asked again after growing pauses. [`Uri`] is a place of CoAP over UDP,
//! [`resources`] reads what a directory says it has. Left out: simple registration (§5.1), third
//! parties (§5.2), the directory itself.

mod contract;
mod registration;
mod resources;
mod uri;

pub use contract::{Action, Counts, Event, Failure, Look, Registered, Settings};
pub use registration::Registration;
pub use resources::resources;
pub use uri::{BadUri, Server, Uri};
