//! Values that are one of a few words.

use super::Value;

words! {
    /// What survives what.
    pub Durability, "power_loss, process_crash or none" {
        /// What was acknowledged survives power loss.
        PowerLoss = "power_loss",
        /// It survives the end of the process.
        ProcessCrash = "process_crash",
        /// Nothing is saved.
        None = "none",
    }
}

words! {
    /// How log lines look.
    pub LogFormat, "auto, logfmt or json" {
        /// logfmt on a terminal, JSON otherwise.
        Auto = "auto",
        /// logfmt.
        Logfmt = "logfmt",
        /// JSON.
        Json = "json",
    }
}

words! {
    /// How much is logged.
    pub LogLevel, "error, warn, info, debug or trace" {
        /// Faults.
        Error = "error",
        /// And what may become one.
        Warn = "warn",
        /// And what happened.
        Info = "info",
        /// And why.
        Debug = "debug",
        /// And everything.
        Trace = "trace",
    }
}

impl LogLevel {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

words! {
    /// Where a CoAP client's name comes from.
    pub(crate) ClientFromWord, "address or query" { Address = "address", Query = "query", }
}

words! {
    /// Versions of MQTT.
    pub(crate) MqttVersion, "3.1, 3.1.1 or 5.0" { V31 = "3.1", V311 = "3.1.1", V5 = "5.0", }
}

words! {
    /// Who of a group gets what is shared.
    pub(crate) SharedWord, "round_robin, sticky or hash_topic" {
        RoundRobin = "round_robin",
        Sticky = "sticky",
        HashTopic = "hash_topic",
    }
}

words! {
    /// What a takeover does with a will.
    pub(crate) TakeoverWord, "published or ended_session" {
        Published = "published",
        EndedSession = "ended_session",
    }
}

words! {
    /// When a CoAP client proves its address.
    pub(crate) EchoWord, "auto, always or off" { Auto = "auto", Always = "always", Off = "off", }
}

words! {
    /// Address changes of a known MQTT-SN client.
    pub(crate) RebindWord, "same_host, any or never" { SameHost = "same_host", Any = "any", Never = "never", }
}

words! {
    /// What a full queue does.
    pub(crate) OverflowWord, "drop_oldest, drop_newest, disconnect or latest_per_topic" {
        DropOldest = "drop_oldest",
        DropNewest = "drop_newest",
        Disconnect = "disconnect",
        LatestPerTopic = "latest_per_topic",
    }
}

words! {
    /// What becomes of QoS 0 messages while a client sleeps.
    pub(crate) KeepWord, "keep or drop" { Keep = "keep", Drop = "drop", }
}

words! {
    /// Whether strings may hold control characters.
    pub(crate) Utf8Word, "strict or lenient" { Strict = "strict", Lenient = "lenient", }
}

words! {
    /// What a denied request leads to.
    pub(crate) DenyWord, "answer or disconnect" { Answer = "answer", Disconnect = "disconnect", }
}

words! {
    /// What becomes of unsafe text in captures.
    pub(crate) UnsafeWord, "refuse or encode" { Refuse = "refuse", Encode = "encode", }
}

words! {
    /// What packs are taken apart by.
    pub(crate) SplitWord, "senml" { Senml = "senml", }
}

words! {
    /// What becomes of query keys that no rule declares.
    pub(crate) ExtraWord, "refuse or ignore" { Refuse = "refuse", Ignore = "ignore", }
}

words! {
    /// The answer to observing a topic without value.
    pub(crate) EmptyWord, "content or 4.04" { Content = "content", NotFound = "4.04", }
}
