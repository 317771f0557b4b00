//! Tickets of pulls: signed with a key that only the workers and the controller of one query have, so that nobody else
//! can take its rows, however well the ids are guessed.

use std::fmt;
use std::sync::Arc;

use prost::Message;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use sarsen_proto::v1;

/// Bytes of a key.
const KEY: usize = 32;

/// A query's key. It is made by the controller, once per query and epoch, and is forgotten with the query's outputs.
#[derive(Clone)]
pub struct TicketKey {
    bytes: [u8; KEY],
    key: Arc<hmac::Key>,
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey")
    }
}

impl TicketKey {
    /// A new one; `None` when the system gives no random bytes.
    pub fn random() -> Option<TicketKey> {
        let mut bytes = [0; KEY];
        SystemRandom::new().fill(&mut bytes).ok()?;
        TicketKey::from_bytes(&bytes)
    }

    /// The one that a controller sent; `None` when it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<TicketKey> {
        let bytes: [u8; KEY] = bytes.try_into().ok()?;
        Some(TicketKey {
            key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
            bytes,
        })
    }

    /// For the workers of the query.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }

    /// Signs all that a ticket says.
    pub fn sign(&self, ticket: v1::PartitionTicket) -> v1::PartitionTicket {
        let signature = hmac::sign(&self.key, &signed_bytes(&ticket));
        v1::PartitionTicket {
            signature: signature.as_ref().to_vec().into(),
            ..ticket
        }
    }

    /// Whether a ticket was signed with this key; takes the same time wherever it differs.
    pub fn signed(&self, ticket: &v1::PartitionTicket) -> bool {
        hmac::verify(&self.key, &signed_bytes(ticket), &ticket.signature).is_ok()
    }
}

/// A message of plain numbers and texts has one encoding.
fn signed_bytes(ticket: &v1::PartitionTicket) -> Vec<u8> {
    let unsigned = v1::PartitionTicket {
        signature: Default::default(),
        ..ticket.clone()
    };
    unsigned.encode_to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_changed_ticket_is_not_signed() {
        let (key, other) = (TicketKey::random().unwrap(), TicketKey::random().unwrap());
        let ticket = key.sign(v1::PartitionTicket {
            query_id: "q".to_owned(),
            partition: 1,
            max_bytes: 8,
            ..Default::default()
        });
        assert!(key.signed(&ticket) && !other.signed(&ticket));
        let unsigned = v1::PartitionTicket {
            signature: Default::default(),
            ..ticket.clone()
        };
        let mut flipped = ticket.signature.to_vec();
        flipped[31] ^= 1;
        for forged in [
            unsigned,
            v1::PartitionTicket {
                query_id: "p".to_owned(),
                ..ticket.clone()
            },
            v1::PartitionTicket {
                partition: 2,
                ..ticket.clone()
            },
            v1::PartitionTicket {
                run: 1,
                ..ticket.clone()
            },
            v1::PartitionTicket {
                first_batch: 1,
                ..ticket.clone()
            },
            v1::PartitionTicket {
                max_bytes: 9,
                ..ticket.clone()
            },
            v1::PartitionTicket {
                signature: flipped.into(),
                ..ticket.clone()
            },
            v1::PartitionTicket {
                signature: ticket.signature.slice(..16),
                ..ticket.clone()
            },
        ] {
            assert!(!key.signed(&forged), "{forged:?}");
        }
        assert!(TicketKey::from_bytes(&[]).is_none() && TicketKey::from_bytes(&[0; 31]).is_none());
        assert!(TicketKey::from_bytes(&key.to_bytes()).unwrap().signed(&ticket));
    }
}
