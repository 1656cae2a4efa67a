//! What the client owes the gateway: short answers, kept in six bytes until they are fetched.

use crate::{Packet, ReturnCode};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    RegAck { topic_id: u16, msg_id: u16, known: bool },
    PubAck { topic_id: u16, msg_id: u16 },
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    PingResp,
}

impl Reply {
    pub(super) const fn packet(self) -> Packet<'static> {
        match self {
            Reply::RegAck { topic_id, msg_id, known } => {
                let code = if known { ReturnCode::Accepted } else { ReturnCode::InvalidTopicId };
                Packet::RegAck { topic_id, msg_id, code }
            }
            Reply::PubAck { topic_id, msg_id } => {
                Packet::PubAck { topic_id, msg_id, code: ReturnCode::Accepted }
            }
            Reply::PubRec(msg_id) => Packet::PubRec { msg_id },
            Reply::PubRel(msg_id) => Packet::PubRel { msg_id },
            Reply::PubComp(msg_id) => Packet::PubComp { msg_id },
            Reply::PingResp => Packet::PingResp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_costs_six_bytes() {
        assert_eq!(size_of::<Reply>(), 6);
    }
}
