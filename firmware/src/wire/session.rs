//! Session messages: FIXP 1.0 semantics over UDP. Negotiate, Challenge, NegotiateResponse and NegotiateReject
//! travel in control datagrams (kind 0, tag zero, an Ed25519 signature inside where one belongs); all others in
//! tagged datagrams.

use super::sbe::{messages, union};

messages! {
    /// Client to venue: asks for a session. Sent twice: first with a zero cookie and signature, then with
    /// the venue's cookie and the member's signature. Its 192 bytes make the request longer than any reply.
    1 Negotiate {
        /// Microseconds since the epoch, never reused: names this attempt.
        session_id: u64,
        /// Sender's clock, ns; refused when more than 5 s off.
        timestamp: u64,
        /// Member that logs in.
        member: u32,
        /// Which of the member's registered keys signs.
        key_id: u32,
        /// Tag suites that the client can do: bit 0 none (lab only), bit 1 AES-128-GMAC, bit 2 SipHash-2-4-128.
        suites: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
        /// Written as zero.
        pad3: u32,
        /// The cookie of the Challenge, or zero.
        cookie: [u8; 32],
        /// Ephemeral X25519 public key.
        client_key: [u8; 32],
        /// First 32 bytes of BLAKE3 of the venue's public key that the client has pinned.
        venue_key_hash: [u8; 32],
        /// Ed25519 over domain string and all fields before this one.
        signature: [u8; 64],
    }
    /// Venue to client: stateless cookie; proves that the client can read at its source address.
    2 Challenge {
        /// From the Negotiate.
        session_id: u64,
        /// To be returned unchanged.
        cookie: [u8; 32],
    }
    /// Venue to client: session keys can be derived now.
    3 NegotiateResponse {
        /// From the Negotiate.
        session_id: u64,
        /// Venue's clock, ns.
        timestamp: u64,
        /// Connection id to put in every datagram.
        conn_id: u32,
        /// Chosen suite: 0 none, 1 AES-128-GMAC, 2 SipHash-2-4-128.
        suite: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
        /// Ephemeral X25519 public key of the venue.
        venue_key: [u8; 32],
        /// Ed25519 of the venue over the transcript hash.
        signature: [u8; 64],
    }
    /// Venue to client: no session.
    4 NegotiateReject {
        /// From the Negotiate.
        session_id: u64,
        /// Why: `SessionReject`.
        reason: u16,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// Client to venue: confirms the keys and starts or resumes the flows.
    5 Establish {
        /// Of the Negotiate.
        session_id: u64,
        /// Sender's clock, ns.
        timestamp: u64,
        /// Number of the client's next request.
        next_seq_no: u64,
        /// Interval of the client's heartbeats, 20 to 10,000 ms.
        keep_alive_ms: u32,
        /// Cancel on disconnect: 0 never, 1 orders flagged so, 2 all orders.
        cod_policy: u8,
        /// Written as zero.
        pad1: u8,
        /// Written as zero.
        pad2: u16,
    }
    /// Venue to client: the flows are open.
    6 EstablishmentAck {
        /// Of the Negotiate.
        session_id: u64,
        /// Number of the venue's next report; earlier ones can be had by RetransmitRequest.
        next_seq_no: u64,
        /// The next request number that the venue will apply; numbers below it are dead.
        next_client_seq_no: u64,
        /// Interval of the venue's heartbeats.
        keep_alive_ms: u32,
        /// Written as zero.
        pad1: u32,
    }
    /// Venue to client: not established.
    7 EstablishmentReject {
        /// Of the Establish.
        session_id: u64,
        /// Why: `SessionReject`.
        reason: u16,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// Either way: ends the session at once.
    8 Terminate {
        /// Of the session.
        session_id: u64,
        /// Why: `TerminateReason`.
        reason: u16,
        /// Written as zero.
        pad1: u16,
        /// Written as zero.
        pad2: u32,
    }
    /// Client to venue: send reports again.
    9 RetransmitRequest {
        /// Echoed in a RetransmitReject.
        timestamp: u64,
        /// First report wanted.
        from_seq_no: u64,
        /// How many; the answer holds what fits one datagram.
        count: u32,
        /// Written as zero.
        pad1: u32,
    }
    /// Venue to client: not sent again, and why.
    10 RetransmitReject {
        /// Of the request.
        timestamp: u64,
        /// Of the request.
        from_seq_no: u64,
        /// The lowest number that can be asked for.
        first_seq_no: u64,
        /// The lowest number that was not sent yet.
        next_seq_no: u64,
        /// Why: `RetransmitRefusal`.
        reason: u16,
        /// Written as zero.
        pad1: u16,
        /// When a request may be tried again, ms; zero unless that is of use.
        retry_after_ms: u32,
    }
    /// Oracle to venue, in a control datagram: signed prices.
    20 OracleReport {
        /// Rises by at least one with each report of this key.
        report_no: u64,
        /// Time of observation, ns.
        timestamp: u64,
        /// Index in micro-units.
        index_micro: i64,
        /// Implied volatility of expiry slot 0, scaled by 1e9 (600_000_000 is 60 % a year).
        vol0_e9: i64,
        /// Expiry slot 1.
        vol1_e9: i64,
        /// Expiry slot 2.
        vol2_e9: i64,
        /// Expiry slot 3.
        vol3_e9: i64,
        /// Which registered oracle key signs.
        key_id: u32,
        /// Written as zero.
        pad1: u32,
        /// Ed25519 over domain string and all fields before this one.
        signature: [u8; 64],
    }
}

union! {
    /// Messages of control datagrams and of the session layer.
    SessionMessage {
        Negotiate, Challenge, NegotiateResponse, NegotiateReject, Establish, EstablishmentAck, EstablishmentReject,
        Terminate, RetransmitRequest, RetransmitReject, OracleReport,
    }
}

const _: () = assert!(size_of::<Negotiate>() > size_of::<NegotiateResponse>());
