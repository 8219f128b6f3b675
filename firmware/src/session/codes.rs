//! Reasons of the session layer, each with its sentence for people.

macro_rules! reasons {
    ($(#[$m:meta])* $enum:ident { $($code:literal $name:ident $text:literal,)+ }) => {
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u16)]
        pub enum $enum {
            $(#[doc = $text] $name = $code),+
        }

        impl $enum {
            /// All codes, rising.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// From the wire.
            #[must_use]
            pub const fn from_wire(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// The sentence for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// Name of the code.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }

        impl core::fmt::Display for $enum {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.text())
            }
        }
    };
}

reasons! {
    /// Why a login is refused: `reason` of NegotiateReject and EstablishmentReject.
    SessionReject {
        1 StaleTime "The timestamp is more than 5 seconds off the venue's clock.",
        2 WrongVenueKey "The client has pinned another venue key.",
        3 UnknownKey "The member has no key with this id.",
        4 BadSignature "The signature does not fit the message and the member's key.",
        5 SessionIdUsed "The session id is not above the last one of this key.",
        6 NoCommonSuite "The venue allows none of the offered tag suites here.",
        7 BadClientKey "The ephemeral key gives no shared secret.",
        8 Full "More logins are under way than the venue has room for: try again.",
        9 MemberLocked "The member is locked by the venue.",
        10 NotServing "The venue stops and takes no logins.",
        11 WrongSession "The session id is not that of the keys in use.",
        12 SeqNoOutOfRange "The next request number is zero or too high.",
        13 KeepAliveOutOfRange "The heartbeat interval is outside 20 to 10,000 ms.",
        14 BadCodPolicy "The cancel-on-disconnect policy is none of 0, 1, 2.",
    }
}

impl core::error::Error for SessionReject {}

reasons! {
    /// Why a session ends: `reason` of Terminate.
    TerminateReason {
        0 Finished "The client ended the session, or the venue confirms that it did.",
        1 ProtocolError "The client numbered a request with zero or beyond 2^62, under a valid tag.",
        2 TimedOut "The venue heard nothing for three of the client's heartbeat intervals.",
        3 Replaced "A newer login of the member took the session over.",
        4 VenueStops "The venue stops.",
        5 KeysUsedUp "The keys have sealed as many datagrams as they may: log in again.",
        6 Kicked "The venue's operator ended the session; the member may log in again.",
    }
}

reasons! {
    /// Why reports are not sent again: `reason` of RetransmitReject.
    RetransmitRefusal {
        0 TooLow "The first number wanted is below firstSeqNo, the first that is kept.",
        1 TooHigh "The first number wanted is nextSeqNo or above: it was not sent yet.",
        2 RateLimit "More requests than allowed; ask again after retryAfterMs.",
        3 Busy "A request of the member is still under way, or too many of others are; ask again after retryAfterMs.",
        4 EmptyRange "The count is zero.",
    }
}
