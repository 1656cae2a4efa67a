//! The block `coap.resource_directory`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Text, Time};

/// A registration at a resource directory.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ResourceDirectory {
    /// `coap://HOST[:PORT]`, where the registration resource is asked for
    /// (`/.well-known/core?rt=core.rd`), or `coap://HOST[:PORT]/PATH`, which is it.
    #[schemars(extend("required" = true))]
    pub(crate) uri: Text,
    /// Name of this gateway in the directory (`ep`), unique within the sector: 1 to 63 bytes.
    #[schemars(extend("otherwise" = "`gateway.name`, else the name of the machine"))]
    pub(crate) endpoint: Text,
    /// Sector that it belongs to (`d`): 1 to 63 bytes.
    #[schemars(extend("otherwise" = "the directory's"))]
    pub(crate) sector: Text,
    /// How long the directory keeps the registration of a gateway that is heard no more (`lt`), in
    /// whole seconds.
    #[schemars(extend("default" = "25h", "range" = "60s to 36500d"))]
    pub(crate) lifetime: Time,
    /// Where clients reach the listener (`base`), such as `coap://gateway.example.org` or
    /// `coap://[2001:db8::7]:61616`; needed behind a NAT, and for a listener whose address nobody else
    /// reaches.
    #[schemars(extend(
        "otherwise" = "the listener's address, or that from which the directory is reached, and its port"
    ))]
    pub(crate) base: Text,
    /// Name of the CoAP listener whose resources are registered; one that takes anonymous clients.
    #[schemars(extend("otherwise" = "the first one of CoAP over UDP, else the first of CoAP"))]
    pub(crate) listener: Text,
    /// How often the resources are looked at (they change with retained topics); where they have
    /// changed, they are registered anew.
    #[schemars(extend("default" = "5m", "range" = "1s to 1d"))]
    pub(crate) links_every: Time,
}
