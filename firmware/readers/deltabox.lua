-- Wireshark and tshark read Deltabox with this script:
--
--     wireshark -X lua_script:deltabox.lua          or copy it into the personal plugin folder
--     tshark -X lua_script:deltabox.lua -d udp.port==4001,moldudp64 -r day.pcap -Y deltabox.rejected
--
-- Order entry is found by its port (preference "deltabox.ports", 4000 unless set) or, on other ports, by its header.
-- Market data is left to Wireshark's own MoldUDP64 dissector (Decode As); its messages are shown below it.
-- Fields are named deltabox.<message>.<field>, as in `deltabox.new_order.price`.
--
-- The tables between the marks come from ../schema/deltabox.xml; `BLESS=1 cargo test -p firmware` writes them anew.

-- generated
local SCHEMA_ID = 56065

local ENUMS = {
    CancelReason = { [0] = "Requested", [1] = "ImmediateRest", [2] = "SelfTrade", [3] = "MassCancel", [4] = "Disconnect", [5] = "Margin", [6] = "Collar", [7] = "FillLimit", [8] = "Expired", [9] = "DeadMan", [10] = "KillSwitch", [11] = "MarketMakerProtection", [12] = "TradingState", [13] = "Operator", [14] = "ReduceOnly", [255] = "none" },
    CancelScope = { [0] = "OrdersAndQuotes", [1] = "OrdersOnly", [2] = "QuotesOnly", [255] = "none" },
    CodPolicy = { [0] = "Never", [1] = "Flagged", [2] = "AllOrders", [255] = "none" },
    DeadManEvent = { [0] = "Armed", [1] = "Disarmed", [2] = "Fired", [255] = "none" },
    InstrumentKind = { [0] = "Perpetual", [1] = "Call", [2] = "Put", [3] = "Future", [4] = "EverlastingCall", [5] = "EverlastingPut", [6] = "Power", [255] = "none" },
    KillAction = { [0] = "Lock", [1] = "Unlock", [255] = "none" },
    LiquidationStepKind = { [0] = "Cancel", [1] = "Close", [2] = "Fund", [3] = "Deleverage", [4] = "Charge", [255] = "none" },
    Liquidity = { [0] = "Maker", [1] = "Taker", [255] = "none" },
    LockedBy = { [0] = "Member", [1] = "Venue", [255] = "none" },
    MmpEventKind = { [0] = "QuantityLimit", [1] = "DeltaLimit", [2] = "VegaLimit", [3] = "Reset", [4] = "Configured", [255] = "none" },
    OrdType = { [0] = "Limit", [1] = "Market", [255] = "none" },
    RejectCode = { [1] = "Malformed", [2] = "Throttled", [3] = "UnknownAccount", [4] = "DuplicateClOrdId", [5] = "Overloaded", [10] = "UnknownInstrument", [11] = "InvalidField", [13] = "PriceOffTick", [14] = "PriceOutOfBand", [15] = "QuantityOutOfRange", [16] = "AmountOutOfRange", [17] = "BadEntries", [18] = "InvalidExpiry", [20] = "Busy", [30] = "Halted", [31] = "OracleStale", [32] = "PriceOutOfCollar", [33] = "UnknownOrder", [34] = "WouldTake", [35] = "WouldIncrease", [36] = "CannotFillWhole", [37] = "PositionLimit", [38] = "InsufficientMargin", [39] = "BelowMaintenance", [40] = "NoSuchAccount", [41] = "BookFull", [42] = "InsufficientCollateral", [43] = "NothingToChange", [44] = "Locked", [45] = "NotInThisState", [46] = "MmpFrozen", [47] = "NoSuchMmpGroup", [48] = "ReadOnly", [49] = "LockedByVenue", [65535] = "none" },
    RetransmitRefusal = { [0] = "TooLow", [1] = "TooHigh", [2] = "RateLimit", [3] = "Busy", [4] = "EmptyRange", [65535] = "none" },
    SealReason = { [0] = "Full", [1] = "Timer", [2] = "RiskTable", [3] = "Operator", [4] = "Liquidation", [255] = "none" },
    SessionReject = { [1] = "StaleTime", [2] = "WrongVenueKey", [3] = "UnknownKey", [4] = "BadSignature", [5] = "SessionIdUsed", [6] = "NoCommonSuite", [7] = "BadClientKey", [8] = "Full", [9] = "MemberLocked", [10] = "NotServing", [11] = "WrongSession", [12] = "SeqNoOutOfRange", [13] = "KeepAliveOutOfRange", [14] = "BadCodPolicy", [65535] = "none" },
    SettlementTrigger = { [0] = "IndexMoved", [1] = "IntervalPassed", [255] = "none" },
    Side = { [0] = "Buy", [1] = "Sell", [255] = "none" },
    SideOrBoth = { [0] = "Buy", [1] = "Sell", [255] = "none" },
    StpMode = { [0] = "CancelMaker", [1] = "CancelTaker", [2] = "CancelBoth", [3] = "Decrement", [255] = "none" },
    TagSuite = { [0] = "NoTag", [1] = "Aes128Gmac", [2] = "SipHash24", [255] = "none" },
    TerminateReason = { [0] = "Finished", [1] = "ProtocolError", [2] = "TimedOut", [3] = "Replaced", [4] = "VenueStops", [5] = "KeysUsedUp", [6] = "Kicked", [65535] = "none" },
    TimeInForce = { [0] = "GoodTillCancel", [1] = "Day", [2] = "GoodTillDate", [3] = "ImmediateOrCancel", [4] = "FillOrKill", [255] = "none" },
    TradingState = { [0] = "PreOpen", [1] = "Auction", [2] = "Open", [3] = "CancelOnly", [4] = "Halt", [5] = "Settle", [6] = "Delivered", [7] = "Delisted", [255] = "none" },
}

local SETS = {
    FeedFlags = { [0] = "lastOfEvent" },
    OrderFlags = { [0] = "postOnly", [1] = "reduceOnly", [2] = "cancelOnDisconnect", [3] = "totalQuantity" },
    RiskSwitches = { [0] = "Funding", [1] = "Expiry", [2] = "Liquidation" },
    TagSuites = { [0] = "noTag", [1] = "aes128Gmac", [2] = "sipHash24" },
}

local MESSAGES = {
    [1] = {
        name = "Negotiate", abbr = "negotiate", about = "Client to venue: asks for a session. Sent twice: first with a zero cookie and signature, then with the venue's cookie and the member's signature. Its 192 bytes make the request longer than any reply.",
        fields = {
            { abbr = "session_id", name = "sessionId", offset = 0, size = 8, kind = "u64", about = "Microseconds since the epoch, never reused: names this attempt." },
            { abbr = "timestamp", name = "timestamp", offset = 8, size = 8, kind = "u64", time = true, about = "Sender's clock, ns; refused when more than 5 s off." },
            { abbr = "member", name = "member", offset = 16, size = 4, kind = "u32", about = "Member that logs in." },
            { abbr = "key_id", name = "keyId", offset = 20, size = 4, kind = "u32", about = "Which of the member's registered keys signs." },
            { abbr = "suites", name = "suites", offset = 24, size = 1, kind = "u8", set = "TagSuites", about = "Tag suites that the client can do: bit 0 none (lab only), bit 1 AES-128-GMAC, bit 2 SipHash-2-4-128." },
            { abbr = "pad1", name = "pad1", offset = 25, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 26, size = 2, kind = "u16", about = "" },
            { abbr = "pad3", name = "pad3", offset = 28, size = 4, kind = "u32", about = "" },
            { abbr = "cookie", name = "cookie", offset = 32, size = 32, kind = "bytes", about = "The cookie of the Challenge, or zero." },
            { abbr = "client_key", name = "clientKey", offset = 64, size = 32, kind = "bytes", about = "Ephemeral X25519 public key." },
            { abbr = "venue_key_hash", name = "venueKeyHash", offset = 96, size = 32, kind = "bytes", about = "First 32 bytes of BLAKE3 of the venue's public key that the client has pinned." },
            { abbr = "signature", name = "signature", offset = 128, size = 64, kind = "bytes", about = "Ed25519 over domain string and all fields before this one." },
        },
        groups = {
        },
    },
    [2] = {
        name = "Challenge", abbr = "challenge", about = "Venue to client: stateless cookie; proves that the client can read at its source address.",
        fields = {
            { abbr = "session_id", name = "sessionId", offset = 0, size = 8, kind = "u64", about = "From the Negotiate." },
            { abbr = "cookie", name = "cookie", offset = 8, size = 32, kind = "bytes", about = "To be returned unchanged." },
        },
        groups = {
        },
    },
    [3] = {
        name = "NegotiateResponse", abbr = "negotiate_response", about = "Venue to client: session keys can be derived now.",
        fields = {
            { abbr = "session_id", name = "sessionId", offset = 0, size = 8, kind = "u64", about = "From the Negotiate." },
            { abbr = "timestamp", name = "timestamp", offset = 8, size = 8, kind = "u64", time = true, about = "Venue's clock, ns." },
            { abbr = "conn_id", name = "connId", offset = 16, size = 4, kind = "u32", about = "Connection id to put in every datagram." },
            { abbr = "suite", name = "suite", offset = 20, size = 1, kind = "u8", enum = "TagSuite", about = "Chosen suite: 0 none, 1 AES-128-GMAC, 2 SipHash-2-4-128." },
            { abbr = "pad1", name = "pad1", offset = 21, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 22, size = 2, kind = "u16", about = "" },
            { abbr = "venue_key", name = "venueKey", offset = 24, size = 32, kind = "bytes", about = "Ephemeral X25519 public key of the venue." },
            { abbr = "signature", name = "signature", offset = 56, size = 64, kind = "bytes", about = "Ed25519 of the venue over the transcript hash." },
        },
        groups = {
        },
    },
    [4] = {
        name = "NegotiateReject", abbr = "negotiate_reject", about = "Venue to client: no session.",
        fields = {
            { abbr = "session_id", name = "sessionId", offset = 0, size = 8, kind = "u64", about = "From the Negotiate." },
            { abbr = "reason", name = "reason", offset = 8, size = 2, kind = "u16", enum = "SessionReject", about = "Why: SessionReject." },
            { abbr = "pad1", name = "pad1", offset = 10, size = 2, kind = "u16", about = "" },
            { abbr = "pad2", name = "pad2", offset = 12, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [5] = {
        name = "Establish", abbr = "establish", about = "Client to venue: confirms the keys and starts or resumes the flows.",
        fields = {
            { abbr = "session_id", name = "sessionId", offset = 0, size = 8, kind = "u64", about = "Of the Negotiate." },
            { abbr = "timestamp", name = "timestamp", offset = 8, size = 8, kind = "u64", time = true, about = "Sender's clock, ns." },
            { abbr = "next_seq_no", name = "nextSeqNo", offset = 16, size = 8, kind = "u64", about = "Number of the client's next request." },
            { abbr = "keep_alive_ms", name = "keepAliveMs", offset = 24, size = 4, kind = "u32", about = "Interval of the client's heartbeats, 20 to 10,000 ms." },
            { abbr = "cod_policy", name = "codPolicy", offset = 28, size = 1, kind = "u8", enum = "CodPolicy", about = "Cancel on disconnect: 0 never, 1 orders flagged so, 2 all orders." },
            { abbr = "pad1", name = "pad1", offset = 29, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 30, size = 2, kind = "u16", about = "" },
        },
        groups = {
        },
    },
    [6] = {
        name = "EstablishmentAck", abbr = "establishment_ack", about = "Venue to client: the flows are open.",
        fields = {
            { abbr = "session_id", name = "sessionId", offset = 0, size = 8, kind = "u64", about = "Of the Negotiate." },
            { abbr = "next_seq_no", name = "nextSeqNo", offset = 8, size = 8, kind = "u64", about = "Number of the venue's next report; earlier ones can be had by RetransmitRequest." },
            { abbr = "next_client_seq_no", name = "nextClientSeqNo", offset = 16, size = 8, kind = "u64", about = "The next request number that the venue will apply; numbers below it are dead." },
            { abbr = "keep_alive_ms", name = "keepAliveMs", offset = 24, size = 4, kind = "u32", about = "Interval of the venue's heartbeats." },
            { abbr = "pad1", name = "pad1", offset = 28, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [7] = {
        name = "EstablishmentReject", abbr = "establishment_reject", about = "Venue to client: not established.",
        fields = {
            { abbr = "session_id", name = "sessionId", offset = 0, size = 8, kind = "u64", about = "Of the Establish." },
            { abbr = "reason", name = "reason", offset = 8, size = 2, kind = "u16", enum = "SessionReject", about = "Why: SessionReject." },
            { abbr = "pad1", name = "pad1", offset = 10, size = 2, kind = "u16", about = "" },
            { abbr = "pad2", name = "pad2", offset = 12, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [8] = {
        name = "Terminate", abbr = "terminate", about = "Either way: ends the session at once.",
        fields = {
            { abbr = "session_id", name = "sessionId", offset = 0, size = 8, kind = "u64", about = "Of the session." },
            { abbr = "reason", name = "reason", offset = 8, size = 2, kind = "u16", enum = "TerminateReason", about = "Why: TerminateReason." },
            { abbr = "pad1", name = "pad1", offset = 10, size = 2, kind = "u16", about = "" },
            { abbr = "pad2", name = "pad2", offset = 12, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [9] = {
        name = "RetransmitRequest", abbr = "retransmit_request", about = "Client to venue: send reports again.",
        fields = {
            { abbr = "timestamp", name = "timestamp", offset = 0, size = 8, kind = "u64", time = true, about = "Echoed in a RetransmitReject." },
            { abbr = "from_seq_no", name = "fromSeqNo", offset = 8, size = 8, kind = "u64", about = "First report wanted." },
            { abbr = "count", name = "count", offset = 16, size = 4, kind = "u32", about = "How many; the answer holds what fits one datagram." },
            { abbr = "pad1", name = "pad1", offset = 20, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [10] = {
        name = "RetransmitReject", abbr = "retransmit_reject", about = "Venue to client: not sent again, and why.",
        fields = {
            { abbr = "timestamp", name = "timestamp", offset = 0, size = 8, kind = "u64", time = true, about = "Of the request." },
            { abbr = "from_seq_no", name = "fromSeqNo", offset = 8, size = 8, kind = "u64", about = "Of the request." },
            { abbr = "first_seq_no", name = "firstSeqNo", offset = 16, size = 8, kind = "u64", about = "The lowest number that can be asked for." },
            { abbr = "next_seq_no", name = "nextSeqNo", offset = 24, size = 8, kind = "u64", about = "The lowest number that was not sent yet." },
            { abbr = "reason", name = "reason", offset = 32, size = 2, kind = "u16", enum = "RetransmitRefusal", about = "Why: RetransmitRefusal." },
            { abbr = "pad1", name = "pad1", offset = 34, size = 2, kind = "u16", about = "" },
            { abbr = "retry_after_ms", name = "retryAfterMs", offset = 36, size = 4, kind = "u32", about = "When a request may be tried again, ms; zero unless that is of use." },
        },
        groups = {
        },
    },
    [20] = {
        name = "OracleReport", abbr = "oracle_report", about = "Oracle to venue, in a control datagram: signed prices.",
        fields = {
            { abbr = "report_no", name = "reportNo", offset = 0, size = 8, kind = "u64", about = "Rises by at least one with each report of this key." },
            { abbr = "timestamp", name = "timestamp", offset = 8, size = 8, kind = "u64", time = true, about = "Time of observation, ns." },
            { abbr = "index_micro", name = "indexMicro", offset = 16, size = 8, kind = "i64", scale = 6, about = "Index in micro-units." },
            { abbr = "vol0_e9", name = "vol0E9", offset = 24, size = 8, kind = "i64", about = "Implied volatility of expiry slot 0, scaled by 1e9 (600_000_000 is 60 % a year)." },
            { abbr = "vol1_e9", name = "vol1E9", offset = 32, size = 8, kind = "i64", about = "Expiry slot 1." },
            { abbr = "vol2_e9", name = "vol2E9", offset = 40, size = 8, kind = "i64", about = "Expiry slot 2." },
            { abbr = "vol3_e9", name = "vol3E9", offset = 48, size = 8, kind = "i64", about = "Expiry slot 3." },
            { abbr = "key_id", name = "keyId", offset = 56, size = 4, kind = "u32", about = "Which registered oracle key signs." },
            { abbr = "pad1", name = "pad1", offset = 60, size = 4, kind = "u32", about = "" },
            { abbr = "signature", name = "signature", offset = 64, size = 64, kind = "bytes", about = "Ed25519 over domain string and all fields before this one." },
        },
        groups = {
        },
    },
    [104] = {
        name = "Cancel", abbr = "cancel", about = "Cancels one order. Passes in every trading state and is never throttled.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of this request." },
            { abbr = "order_id", name = "orderId", offset = 8, size = 8, kind = "u64", about = "Venue's name, or zero to go by orig_cl_ord_id." },
            { abbr = "orig_cl_ord_id", name = "origClOrdId", offset = 16, size = 8, kind = "u64", about = "Client's name of the order." },
            { abbr = "account", name = "account", offset = 24, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 28, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "pad1", name = "pad1", offset = 30, size = 2, kind = "u16", about = "" },
        },
        groups = {
        },
    },
    [110] = {
        name = "Withdraw", abbr = "withdraw", about = "Moves free collateral to the owner's L1 balance with the next batch.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of this request." },
            { abbr = "amount", name = "amount", offset = 8, size = 8, kind = "i64", scale = 6, about = "Micro-units of the settlement asset." },
            { abbr = "account", name = "account", offset = 16, size = 4, kind = "u32", about = "Account." },
            { abbr = "pad1", name = "pad1", offset = 20, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [11] = {
        name = "NotApplied", abbr = "not_applied", about = "Venue to client: the requests numbered so were never received; they are dead.",
        fields = {
            { abbr = "from_seq_no", name = "fromSeqNo", offset = 0, size = 8, kind = "u64", about = "First number skipped." },
            { abbr = "count", name = "count", offset = 8, size = 8, kind = "u64", about = "How many." },
            { abbr = "engine_time", name = "engineTime", offset = 16, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 24, size = 8, kind = "u64", about = "Journal record." },
        },
        groups = {
        },
    },
    [100] = {
        name = "NewOrder", abbr = "new_order", about = "A new order.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of the order: rises strictly within the member's day." },
            { abbr = "price", name = "price", offset = 8, size = 8, kind = "i64", null = "-9223372036854775808", scale = 9, about = "Limit price x 1e-9; null for a market order." },
            { abbr = "quantity", name = "quantity", offset = 16, size = 8, kind = "i64", about = "Lots." },
            { abbr = "expire_time", name = "expireTime", offset = 24, size = 8, kind = "u64", time = true, about = "Expiry of a GTD order, ns; zero otherwise." },
            { abbr = "smp_id", name = "smpId", offset = 32, size = 8, kind = "u64", about = "Self-match id: orders of the member with the same id never trade with each other. Zero: only orders of the same account." },
            { abbr = "account", name = "account", offset = 40, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 44, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "side", name = "side", offset = 46, size = 1, kind = "u8", enum = "Side", about = "0 buy, 1 sell." },
            { abbr = "ord_type", name = "ordType", offset = 47, size = 1, kind = "u8", enum = "OrdType", about = "0 limit, 1 market." },
            { abbr = "time_in_force", name = "timeInForce", offset = 48, size = 1, kind = "u8", enum = "TimeInForce", about = "0 GTC, 1 Day, 2 GTD, 3 IOC, 4 FOK." },
            { abbr = "flags", name = "flags", offset = 49, size = 1, kind = "u8", set = "OrderFlags", about = "Bits: 0 post-only, 1 reduce-only, 2 cancel on disconnect." },
            { abbr = "stp_mode", name = "stpMode", offset = 50, size = 1, kind = "u8", enum = "StpMode", about = "Self-trade prevention of the aggressor: 0 cancel maker, 1 cancel taker, 2 both, 3 decrement." },
            { abbr = "mmp_group", name = "mmpGroup", offset = 51, size = 1, kind = "u8", about = "Market-maker protection group; zero: none." },
            { abbr = "pad1", name = "pad1", offset = 52, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [101] = {
        name = "MassQuote", abbr = "mass_quote", about = "Two-sided quotes in up to 32 instruments as one event. Each account has at most one quote a side of an instrument: an entry takes its place. The same price and quantity again keep the place in the queue.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of the mass quote, and of each of its orders: rises strictly within the member's day." },
            { abbr = "smp_id", name = "smpId", offset = 8, size = 8, kind = "u64", about = "As in NewOrder." },
            { abbr = "account", name = "account", offset = 16, size = 4, kind = "u32", about = "Account." },
            { abbr = "mmp_group", name = "mmpGroup", offset = 20, size = 1, kind = "u8", about = "Market-maker protection group; zero: none." },
            { abbr = "stp_mode", name = "stpMode", offset = 21, size = 1, kind = "u8", enum = "StpMode", about = "As in NewOrder." },
            { abbr = "flags", name = "flags", offset = 22, size = 1, kind = "u8", set = "OrderFlags", about = "Bits: 0 post-only, 2 cancel on disconnect." },
            { abbr = "pad1", name = "pad1", offset = 23, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 24, size = 4, kind = "u32", about = "" },
        },
        groups = {
            { name = "entries", abbr = "entries", about = "One instrument each", fields = {
                { abbr = "bid_price", name = "bidPrice", offset = 0, size = 8, kind = "i64", scale = 9, about = "Price of the bid x 1e-9." },
                { abbr = "bid_quantity", name = "bidQuantity", offset = 8, size = 8, kind = "i64", null = "-9223372036854775808", about = "Lots of the bid; zero withdraws it, null leaves it as it is." },
                { abbr = "ask_price", name = "askPrice", offset = 16, size = 8, kind = "i64", scale = 9, about = "Price of the ask x 1e-9." },
                { abbr = "ask_quantity", name = "askQuantity", offset = 24, size = 8, kind = "i64", null = "-9223372036854775808", about = "Lots of the ask; zero withdraws it, null leaves it as it is." },
                { abbr = "instrument", name = "instrument", offset = 32, size = 2, kind = "u16", about = "Instrument, once in a mass quote." },
                { abbr = "pad1", name = "pad1", offset = 34, size = 2, kind = "u16", about = "" },
                { abbr = "pad2", name = "pad2", offset = 36, size = 4, kind = "u32", about = "" },
            } },
        },
    },
    [102] = {
        name = "Replace", abbr = "replace", about = "Changes price or quantity of a resting order. A new price or a larger quantity loses priority.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "New client name of the order." },
            { abbr = "order_id", name = "orderId", offset = 8, size = 8, kind = "u64", about = "Venue's name, or zero to go by `orig_cl_ord_id`." },
            { abbr = "orig_cl_ord_id", name = "origClOrdId", offset = 16, size = 8, kind = "u64", about = "Client's name of the order to change." },
            { abbr = "price", name = "price", offset = 24, size = 8, kind = "i64", scale = 9, about = "New price x 1e-9." },
            { abbr = "quantity", name = "quantity", offset = 32, size = 8, kind = "i64", about = "New open quantity in lots; with bit 3 of the flags, open and filled together." },
            { abbr = "account", name = "account", offset = 40, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 44, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "flags", name = "flags", offset = 46, size = 1, kind = "u8", set = "OrderFlags", about = "Bits: 0 post-only from now on, 3 the quantity counts what was filled already." },
            { abbr = "pad1", name = "pad1", offset = 47, size = 1, kind = "u8", about = "" },
        },
        groups = {
        },
    },
    [103] = {
        name = "ReduceQty", abbr = "reduce_qty", about = "Lowers the open quantity of a resting order, which keeps its place in the queue and its names.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of this request." },
            { abbr = "order_id", name = "orderId", offset = 8, size = 8, kind = "u64", about = "Venue's name, or zero to go by `orig_cl_ord_id`." },
            { abbr = "orig_cl_ord_id", name = "origClOrdId", offset = 16, size = 8, kind = "u64", about = "Client's name of the order." },
            { abbr = "quantity", name = "quantity", offset = 24, size = 8, kind = "i64", about = "New open quantity in lots, lower than before." },
            { abbr = "account", name = "account", offset = 32, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 36, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "pad1", name = "pad1", offset = 38, size = 2, kind = "u16", about = "" },
        },
        groups = {
        },
    },
    [105] = {
        name = "MassCancel", abbr = "mass_cancel", about = "Cancels all orders that match, as one event.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of this request." },
            { abbr = "account", name = "account", offset = 8, size = 4, kind = "u32", null = "4294967295", about = "Account, or 4294967295 for all accounts of the member." },
            { abbr = "instrument", name = "instrument", offset = 12, size = 2, kind = "u16", null = "65535", about = "Instrument, or 65535 for all." },
            { abbr = "side", name = "side", offset = 14, size = 1, kind = "u8", enum = "SideOrBoth", about = "0 buy, 1 sell, 255 both." },
            { abbr = "scope", name = "scope", offset = 15, size = 1, kind = "u8", enum = "CancelScope", about = "0 orders and quotes, 1 orders only, 2 quotes only." },
            { abbr = "mmp_group", name = "mmpGroup", offset = 16, size = 1, kind = "u8", null = "255", about = "Market-maker protection group, or 255 for any." },
            { abbr = "pad1", name = "pad1", offset = 17, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 18, size = 2, kind = "u16", about = "" },
            { abbr = "pad3", name = "pad3", offset = 20, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [106] = {
        name = "MmpReset", abbr = "mmp_reset", about = "Lets a market-maker protection group quote again, with empty counters.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of this request." },
            { abbr = "account", name = "account", offset = 8, size = 4, kind = "u32", about = "Account." },
            { abbr = "mmp_group", name = "mmpGroup", offset = 12, size = 1, kind = "u8", about = "Group, 1 to 16." },
            { abbr = "pad1", name = "pad1", offset = 13, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 14, size = 2, kind = "u16", about = "" },
        },
        groups = {
        },
    },
    [107] = {
        name = "KillSwitch", abbr = "kill_switch", about = "Cancels everything and locks: until it is unlocked only cancels and reduce-only orders pass.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of this request." },
            { abbr = "account", name = "account", offset = 8, size = 4, kind = "u32", null = "4294967295", about = "Account, or 4294967295 for all accounts of the member." },
            { abbr = "action", name = "action", offset = 12, size = 1, kind = "u8", enum = "KillAction", about = "0 lock, 1 unlock." },
            { abbr = "pad1", name = "pad1", offset = 13, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 14, size = 2, kind = "u16", about = "" },
        },
        groups = {
        },
    },
    [108] = {
        name = "OpenOrdersRequest", abbr = "open_orders_request", about = "Asks for the open orders of an account, oldest first, a page at a time.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of this request." },
            { abbr = "after", name = "after", offset = 8, size = 8, kind = "u64", about = "Entry number after which to go on; zero for the first page." },
            { abbr = "account", name = "account", offset = 16, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 20, size = 2, kind = "u16", null = "65535", about = "Instrument, or 65535 for all." },
            { abbr = "pad1", name = "pad1", offset = 22, size = 2, kind = "u16", about = "" },
        },
        groups = {
        },
    },
    [109] = {
        name = "DeadManTimer", abbr = "dead_man_timer", about = "Arms the dead-man timer: unless it is armed again in time, all orders of the member are cancelled.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of this request." },
            { abbr = "timeout_ns", name = "timeoutNs", offset = 8, size = 8, kind = "u64", time = true, about = "Time until it fires, ns; zero disarms it." },
        },
        groups = {
        },
    },
    [111] = {
        name = "MmpConfig", abbr = "mmp_config", about = "Sets the limits of a market-maker protection group and resets it.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of this request." },
            { abbr = "window_ns", name = "windowNs", offset = 8, size = 8, kind = "u64", time = true, about = "Fills count for this long, ns." },
            { abbr = "freeze_ns", name = "freezeNs", offset = 16, size = 8, kind = "u64", time = true, about = "The group is frozen for this long once it triggers, ns; zero: until it is reset." },
            { abbr = "quantity_limit", name = "quantityLimit", offset = 24, size = 8, kind = "i64", about = "Lots that may fill within the window; zero: no limit." },
            { abbr = "delta_limit", name = "deltaLimit", offset = 32, size = 8, kind = "i64", about = "Absolute net delta of the window's fills, units of underlying x 1e-9; zero: no limit." },
            { abbr = "vega_limit", name = "vegaLimit", offset = 40, size = 8, kind = "i64", scale = 6, about = "Absolute net vega of the window's fills, micro-units between the lowest and the highest volatility of the margin scenarios; zero: no limit." },
            { abbr = "account", name = "account", offset = 48, size = 4, kind = "u32", about = "Account." },
            { abbr = "mmp_group", name = "mmpGroup", offset = 52, size = 1, kind = "u8", about = "Group, 1 to 16." },
            { abbr = "pad1", name = "pad1", offset = 53, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 54, size = 2, kind = "u16", about = "" },
        },
        groups = {
        },
    },
    [112] = {
        name = "PositionsRequest", abbr = "positions_request", about = "Asks for positions and margin of an account.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of this request." },
            { abbr = "account", name = "account", offset = 8, size = 4, kind = "u32", about = "Account." },
            { abbr = "pad1", name = "pad1", offset = 12, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [200] = {
        name = "Accepted", abbr = "accepted", about = "The order is accepted; leaves rests unless fills follow.",
        fields = {
            { abbr = "order_id", name = "orderId", offset = 0, size = 8, kind = "u64", about = "Venue's name of the order." },
            { abbr = "cl_ord_id", name = "clOrdId", offset = 8, size = 8, kind = "u64", about = "Client's name." },
            { abbr = "client_seq", name = "clientSeq", offset = 16, size = 8, kind = "u64", about = "Number of the request." },
            { abbr = "price", name = "price", offset = 24, size = 8, kind = "i64", scale = 9, about = "Price x 1e-9." },
            { abbr = "quantity", name = "quantity", offset = 32, size = 8, kind = "i64", about = "Lots." },
            { abbr = "rx_time", name = "rxTime", offset = 40, size = 8, kind = "u64", time = true, about = "When the datagram was received, ns." },
            { abbr = "engine_time", name = "engineTime", offset = 48, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 56, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 64, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 68, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "side", name = "side", offset = 70, size = 1, kind = "u8", enum = "Side", about = "0 buy, 1 sell." },
            { abbr = "flags", name = "flags", offset = 71, size = 1, kind = "u8", set = "OrderFlags", about = "Flags of the order." },
        },
        groups = {
        },
    },
    [201] = {
        name = "Rejected", abbr = "rejected", about = "The request is refused and changed nothing.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of the request." },
            { abbr = "client_seq", name = "clientSeq", offset = 8, size = 8, kind = "u64", about = "Number of the request." },
            { abbr = "rx_time", name = "rxTime", offset = 16, size = 8, kind = "u64", time = true, about = "When the datagram was received, ns." },
            { abbr = "engine_time", name = "engineTime", offset = 24, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 32, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 40, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 44, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "reason", name = "reason", offset = 46, size = 2, kind = "u16", enum = "RejectCode", about = "Reject code." },
            { abbr = "ref_template", name = "refTemplate", offset = 48, size = 2, kind = "u16", about = "Template of the request." },
            { abbr = "pad1", name = "pad1", offset = 50, size = 2, kind = "u16", about = "" },
            { abbr = "pad2", name = "pad2", offset = 52, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [202] = {
        name = "MassQuoteAck", abbr = "mass_quote_ack", about = "The mass quote is done; each entry had its QuoteStatus before.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of the mass quote." },
            { abbr = "client_seq", name = "clientSeq", offset = 8, size = 8, kind = "u64", about = "Number of the request." },
            { abbr = "rx_time", name = "rxTime", offset = 16, size = 8, kind = "u64", time = true, about = "When the datagram was received, ns." },
            { abbr = "engine_time", name = "engineTime", offset = 24, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 32, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 40, size = 4, kind = "u32", about = "Account." },
            { abbr = "entries", name = "entries", offset = 44, size = 2, kind = "u16", about = "Entries." },
            { abbr = "refused", name = "refused", offset = 46, size = 2, kind = "u16", about = "Sides that were refused." },
        },
        groups = {
        },
    },
    [203] = {
        name = "Replaced", abbr = "replaced", about = "The order was changed.",
        fields = {
            { abbr = "order_id", name = "orderId", offset = 0, size = 8, kind = "u64", about = "Venue's name from now on (new when priority was lost)." },
            { abbr = "prev_order_id", name = "prevOrderId", offset = 8, size = 8, kind = "u64", about = "Venue's name before." },
            { abbr = "cl_ord_id", name = "clOrdId", offset = 16, size = 8, kind = "u64", about = "Client's name from now on." },
            { abbr = "client_seq", name = "clientSeq", offset = 24, size = 8, kind = "u64", about = "Number of the request." },
            { abbr = "price", name = "price", offset = 32, size = 8, kind = "i64", scale = 9, about = "Price x 1e-9." },
            { abbr = "quantity", name = "quantity", offset = 40, size = 8, kind = "i64", about = "Open lots." },
            { abbr = "filled", name = "filled", offset = 48, size = 8, kind = "i64", about = "Lots filled since the order came in." },
            { abbr = "rx_time", name = "rxTime", offset = 56, size = 8, kind = "u64", time = true, about = "When the datagram was received, ns." },
            { abbr = "engine_time", name = "engineTime", offset = 64, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 72, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 80, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 84, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "side", name = "side", offset = 86, size = 1, kind = "u8", enum = "Side", about = "0 buy, 1 sell." },
            { abbr = "pad1", name = "pad1", offset = 87, size = 1, kind = "u8", about = "" },
        },
        groups = {
        },
    },
    [204] = {
        name = "Canceled", abbr = "canceled", about = "Lots were taken off an order without a trade; with no leaves it is gone.",
        fields = {
            { abbr = "order_id", name = "orderId", offset = 0, size = 8, kind = "u64", about = "Venue's name." },
            { abbr = "cl_ord_id", name = "clOrdId", offset = 8, size = 8, kind = "u64", about = "Client's name of the order." },
            { abbr = "request_cl_ord_id", name = "requestClOrdId", offset = 16, size = 8, kind = "u64", about = "Client's name of the request, or zero." },
            { abbr = "client_seq", name = "clientSeq", offset = 24, size = 8, kind = "u64", about = "Number of the request, or zero." },
            { abbr = "quantity", name = "quantity", offset = 32, size = 8, kind = "i64", about = "Lots taken off." },
            { abbr = "leaves", name = "leaves", offset = 40, size = 8, kind = "i64", about = "Lots still open; zero unless a self-trade decrement or a reduce-only cut left some." },
            { abbr = "rx_time", name = "rxTime", offset = 48, size = 8, kind = "u64", time = true, about = "When the request was received, ns, or zero." },
            { abbr = "engine_time", name = "engineTime", offset = 56, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 64, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 72, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 76, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "side", name = "side", offset = 78, size = 1, kind = "u8", enum = "Side", about = "0 buy, 1 sell." },
            { abbr = "reason", name = "reason", offset = 79, size = 1, kind = "u8", enum = "CancelReason", about = "0 requested, 1 IOC rest, 2 self-trade, 3 mass cancel, 4 disconnect, 5 margin, 6 collar, 7 fill limit, 8 expired, 9 dead-man timer, 10 kill switch, 11 market-maker protection, 12 trading state, 13 operator, 14 reduce-only." },
        },
        groups = {
        },
    },
    [205] = {
        name = "Filled", abbr = "filled", about = "A fill, at the maker's price.",
        fields = {
            { abbr = "order_id", name = "orderId", offset = 0, size = 8, kind = "u64", about = "Venue's name of the order." },
            { abbr = "cl_ord_id", name = "clOrdId", offset = 8, size = 8, kind = "u64", about = "Client's name." },
            { abbr = "trade_id", name = "tradeId", offset = 16, size = 8, kind = "u64", about = "The same number for both sides of the trade." },
            { abbr = "price", name = "price", offset = 24, size = 8, kind = "i64", scale = 9, about = "Price x 1e-9." },
            { abbr = "quantity", name = "quantity", offset = 32, size = 8, kind = "i64", about = "Lots filled." },
            { abbr = "leaves", name = "leaves", offset = 40, size = 8, kind = "i64", about = "Lots still open." },
            { abbr = "filled", name = "filled", offset = 48, size = 8, kind = "i64", about = "Lots filled since the order came in, this fill included." },
            { abbr = "fee", name = "fee", offset = 56, size = 8, kind = "i64", scale = 6, about = "Fee in micro-units, rounded up for display (the account is charged exactly); negative is a rebate." },
            { abbr = "engine_time", name = "engineTime", offset = 64, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 72, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 80, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 84, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "side", name = "side", offset = 86, size = 1, kind = "u8", enum = "Side", about = "0 buy, 1 sell." },
            { abbr = "liquidity", name = "liquidity", offset = 87, size = 1, kind = "u8", enum = "Liquidity", about = "0 maker, 1 taker." },
        },
        groups = {
        },
    },
    [206] = {
        name = "MassCancelAck", abbr = "mass_cancel_ack", about = "The mass cancel is done; each order had its own Canceled before.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of the request." },
            { abbr = "client_seq", name = "clientSeq", offset = 8, size = 8, kind = "u64", about = "Number of the request." },
            { abbr = "rx_time", name = "rxTime", offset = 16, size = 8, kind = "u64", time = true, about = "When the datagram was received, ns." },
            { abbr = "engine_time", name = "engineTime", offset = 24, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 32, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 40, size = 4, kind = "u32", about = "Account." },
            { abbr = "count", name = "count", offset = 44, size = 4, kind = "u32", about = "Orders cancelled." },
        },
        groups = {
        },
    },
    [207] = {
        name = "MmpEvent", abbr = "mmp_event", about = "A market-maker protection group triggered, was reset or configured.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of the request, or zero." },
            { abbr = "client_seq", name = "clientSeq", offset = 8, size = 8, kind = "u64", about = "Number of the request, or zero." },
            { abbr = "rx_time", name = "rxTime", offset = 16, size = 8, kind = "u64", time = true, about = "When the request was received, ns, or zero." },
            { abbr = "frozen_until", name = "frozenUntil", offset = 24, size = 8, kind = "u64", time = true, about = "The group takes no orders before this time, ns; zero: it is open; 2^64 - 1: until it is reset." },
            { abbr = "engine_time", name = "engineTime", offset = 32, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 40, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 48, size = 4, kind = "u32", about = "Account." },
            { abbr = "count", name = "count", offset = 52, size = 4, kind = "u32", about = "Orders cancelled; each had its own Canceled before." },
            { abbr = "mmp_group", name = "mmpGroup", offset = 56, size = 1, kind = "u8", about = "Group." },
            { abbr = "event", name = "event", offset = 57, size = 1, kind = "u8", enum = "MmpEventKind", about = "0 quantity limit, 1 delta limit, 2 vega limit, 3 reset, 4 configured." },
            { abbr = "pad1", name = "pad1", offset = 58, size = 2, kind = "u16", about = "" },
            { abbr = "pad2", name = "pad2", offset = 60, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [208] = {
        name = "OpenOrder", abbr = "open_order", about = "An open order, as asked for.",
        fields = {
            { abbr = "request_cl_ord_id", name = "requestClOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of the request." },
            { abbr = "order_id", name = "orderId", offset = 8, size = 8, kind = "u64", about = "Venue's name of the order." },
            { abbr = "cl_ord_id", name = "clOrdId", offset = 16, size = 8, kind = "u64", about = "Client's name of the order." },
            { abbr = "entry", name = "entry", offset = 24, size = 8, kind = "u64", about = "Entry number: rises with each order that comes to rest." },
            { abbr = "price", name = "price", offset = 32, size = 8, kind = "i64", scale = 9, about = "Price x 1e-9." },
            { abbr = "quantity", name = "quantity", offset = 40, size = 8, kind = "i64", about = "Open lots." },
            { abbr = "filled", name = "filled", offset = 48, size = 8, kind = "i64", about = "Lots filled since the order came in." },
            { abbr = "expire_time", name = "expireTime", offset = 56, size = 8, kind = "u64", time = true, about = "Expiry, ns; zero: none." },
            { abbr = "engine_time", name = "engineTime", offset = 64, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 72, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 80, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 84, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "side", name = "side", offset = 86, size = 1, kind = "u8", enum = "Side", about = "0 buy, 1 sell." },
            { abbr = "flags", name = "flags", offset = 87, size = 1, kind = "u8", set = "OrderFlags", about = "Flags of the order." },
            { abbr = "mmp_group", name = "mmpGroup", offset = 88, size = 1, kind = "u8", about = "Market-maker protection group; zero: none." },
            { abbr = "is_quote", name = "isQuote", offset = 89, size = 1, kind = "u8", about = "1 when it came in a mass quote." },
            { abbr = "pad1", name = "pad1", offset = 90, size = 2, kind = "u16", about = "" },
            { abbr = "pad2", name = "pad2", offset = 92, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [209] = {
        name = "PositionMargin", abbr = "position_margin", about = "A position, or (instrument 65535, last) the account as a whole.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of the request." },
            { abbr = "client_seq", name = "clientSeq", offset = 8, size = 8, kind = "u64", about = "Number of the request." },
            { abbr = "position", name = "position", offset = 16, size = 8, kind = "i64", about = "Lots held; negative is short. Zero for the account as a whole." },
            { abbr = "mark", name = "mark", offset = 24, size = 8, kind = "i64", scale = 6, about = "Value of one lot at the mark, micro-units; zero for the account as a whole." },
            { abbr = "cash", name = "cash", offset = 32, size = 8, kind = "i64", scale = 6, about = "Raw cash, micro-units, rounded down; zero for a position." },
            { abbr = "equity", name = "equity", offset = 40, size = 8, kind = "i64", scale = 6, about = "Cash and positions at the marks, micro-units; zero for a position." },
            { abbr = "maintenance", name = "maintenance", offset = 48, size = 8, kind = "i64", scale = 6, about = "Maintenance margin, micro-units; zero for a position." },
            { abbr = "worst", name = "worst", offset = 56, size = 8, kind = "i64", scale = 6, about = "Equity in the worst scenario with the worst set of open orders filled, micro-units; zero for a position." },
            { abbr = "engine_time", name = "engineTime", offset = 64, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 72, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 80, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 84, size = 2, kind = "u16", null = "65535", about = "Instrument; 65535: the account as a whole." },
            { abbr = "is_locked", name = "isLocked", offset = 86, size = 1, kind = "u8", about = "1 when the account is locked." },
            { abbr = "pad1", name = "pad1", offset = 87, size = 1, kind = "u8", about = "" },
        },
        groups = {
        },
    },
    [213] = {
        name = "WithdrawReport", abbr = "withdraw_report", about = "A withdrawal was granted; it can be claimed on L1 once batch batch_no is committed.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of the request." },
            { abbr = "client_seq", name = "clientSeq", offset = 8, size = 8, kind = "u64", about = "Number of the request." },
            { abbr = "amount", name = "amount", offset = 16, size = 8, kind = "i64", scale = 6, about = "Micro-units." },
            { abbr = "cash", name = "cash", offset = 24, size = 8, kind = "i64", scale = 6, about = "Raw cash after, micro-units, rounded down." },
            { abbr = "rx_time", name = "rxTime", offset = 32, size = 8, kind = "u64", time = true, about = "When the datagram was received, ns." },
            { abbr = "engine_time", name = "engineTime", offset = 40, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 48, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "batch_no", name = "batchNo", offset = 56, size = 8, kind = "u64", about = "Batch that carries it." },
            { abbr = "account", name = "account", offset = 64, size = 4, kind = "u32", about = "Account." },
            { abbr = "pad1", name = "pad1", offset = 68, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [214] = {
        name = "SettlementReport", abbr = "settlement_report", about = "What a delta settlement moved for one account.",
        fields = {
            { abbr = "settlement_no", name = "settlementNo", offset = 0, size = 8, kind = "u64", about = "From 1." },
            { abbr = "transfer", name = "transfer", offset = 8, size = 8, kind = "i64", scale = 6, about = "Sum of position x (new mark - old mark), micro-units; positive is received." },
            { abbr = "delta_leg", name = "deltaLeg", offset = 16, size = 8, kind = "i64", scale = 6, about = "Part explained by delta: sum of position x delta x (new index - old index)." },
            { abbr = "residual", name = "residual", offset = 24, size = 8, kind = "i64", scale = 6, about = "The rest: gamma, vega, theta." },
            { abbr = "collateral", name = "collateral", offset = 32, size = 8, kind = "i64", scale = 6, about = "Settled collateral after, micro-units, rounded down." },
            { abbr = "maintenance", name = "maintenance", offset = 40, size = 8, kind = "i64", scale = 6, about = "Maintenance margin after, micro-units." },
            { abbr = "engine_time", name = "engineTime", offset = 48, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 56, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 64, size = 4, kind = "u32", about = "Account." },
            { abbr = "trigger", name = "trigger", offset = 68, size = 1, kind = "u8", enum = "SettlementTrigger", about = "0 index moved by the threshold, 1 interval passed." },
            { abbr = "pad1", name = "pad1", offset = 69, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 70, size = 2, kind = "u16", about = "" },
        },
        groups = {
        },
    },
    [215] = {
        name = "DepositReport", abbr = "deposit_report", about = "A deposit from L1 was credited.",
        fields = {
            { abbr = "queue_index", name = "queueIndex", offset = 0, size = 8, kind = "u64", about = "Place in the L1 queue." },
            { abbr = "amount", name = "amount", offset = 8, size = 8, kind = "i64", scale = 6, about = "Micro-units." },
            { abbr = "cash", name = "cash", offset = 16, size = 8, kind = "i64", scale = 6, about = "Raw cash after, micro-units, rounded down." },
            { abbr = "engine_time", name = "engineTime", offset = 24, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 32, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 40, size = 4, kind = "u32", about = "Account." },
            { abbr = "pad1", name = "pad1", offset = 44, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [216] = {
        name = "KillSwitchAck", abbr = "kill_switch_ack", about = "The kill switch was used, by the member or by the operator.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of the request, or zero." },
            { abbr = "client_seq", name = "clientSeq", offset = 8, size = 8, kind = "u64", about = "Number of the request, or zero." },
            { abbr = "rx_time", name = "rxTime", offset = 16, size = 8, kind = "u64", time = true, about = "When the request was received, ns, or zero." },
            { abbr = "engine_time", name = "engineTime", offset = 24, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 32, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 40, size = 4, kind = "u32", null = "4294967295", about = "Account, or 4294967295 for all accounts of the member." },
            { abbr = "count", name = "count", offset = 44, size = 4, kind = "u32", about = "Orders cancelled; each had its own Canceled before." },
            { abbr = "action", name = "action", offset = 48, size = 1, kind = "u8", enum = "KillAction", about = "0 locked, 1 unlocked." },
            { abbr = "by", name = "by", offset = 49, size = 1, kind = "u8", enum = "LockedBy", about = "0 by the member, 1 by the operator, whose lock the member cannot undo." },
            { abbr = "pad1", name = "pad1", offset = 50, size = 2, kind = "u16", about = "" },
            { abbr = "pad2", name = "pad2", offset = 52, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [217] = {
        name = "OpenOrdersEnd", abbr = "open_orders_end", about = "The page of open orders is complete.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of the request." },
            { abbr = "client_seq", name = "clientSeq", offset = 8, size = 8, kind = "u64", about = "Number of the request." },
            { abbr = "after", name = "after", offset = 16, size = 8, kind = "u64", about = "Entry number to go on after; zero: there are no more." },
            { abbr = "rx_time", name = "rxTime", offset = 24, size = 8, kind = "u64", time = true, about = "When the datagram was received, ns." },
            { abbr = "engine_time", name = "engineTime", offset = 32, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 40, size = 8, kind = "u64", about = "Journal record: the orders stand as of here." },
            { abbr = "account", name = "account", offset = 48, size = 4, kind = "u32", about = "Account." },
            { abbr = "count", name = "count", offset = 52, size = 4, kind = "u32", about = "Orders of this page." },
        },
        groups = {
        },
    },
    [218] = {
        name = "DeadManReport", abbr = "dead_man_report", about = "The dead-man timer was armed, disarmed, or has fired.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of the request, or zero." },
            { abbr = "client_seq", name = "clientSeq", offset = 8, size = 8, kind = "u64", about = "Number of the request, or zero." },
            { abbr = "rx_time", name = "rxTime", offset = 16, size = 8, kind = "u64", time = true, about = "When the request was received, ns, or zero." },
            { abbr = "deadline", name = "deadline", offset = 24, size = 8, kind = "u64", time = true, about = "When it fires, ns; zero: never." },
            { abbr = "engine_time", name = "engineTime", offset = 32, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 40, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "count", name = "count", offset = 48, size = 4, kind = "u32", about = "Orders cancelled; each had its own Canceled before." },
            { abbr = "event", name = "event", offset = 52, size = 1, kind = "u8", enum = "DeadManEvent", about = "0 armed, 1 disarmed, 2 fired." },
            { abbr = "pad1", name = "pad1", offset = 53, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 54, size = 2, kind = "u16", about = "" },
        },
        groups = {
        },
    },
    [219] = {
        name = "QuoteStatus", abbr = "quote_status", about = "What became of one entry of a mass quote. Whatever rested on a side that the entry names is gone, unless it was kept or reduced.",
        fields = {
            { abbr = "cl_ord_id", name = "clOrdId", offset = 0, size = 8, kind = "u64", about = "Client's name of the mass quote." },
            { abbr = "client_seq", name = "clientSeq", offset = 8, size = 8, kind = "u64", about = "Number of the request." },
            { abbr = "bid_order_id", name = "bidOrderId", offset = 16, size = 8, kind = "u64", about = "Venue's name of the bid; zero: none rests." },
            { abbr = "ask_order_id", name = "askOrderId", offset = 24, size = 8, kind = "u64", about = "Venue's name of the ask; zero: none rests." },
            { abbr = "engine_time", name = "engineTime", offset = 32, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 40, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 48, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 52, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "entry", name = "entry", offset = 54, size = 2, kind = "u16", about = "Place of the entry in the mass quote, from 0." },
            { abbr = "bid_status", name = "bidStatus", offset = 56, size = 2, kind = "u16", about = "0 not named, 1000 accepted, 1001 kept, 1002 withdrawn, 1003 reduced; else a reject code." },
            { abbr = "ask_status", name = "askStatus", offset = 58, size = 2, kind = "u16", about = "As for the bid." },
            { abbr = "pad1", name = "pad1", offset = 60, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [220] = {
        name = "FundingReport", abbr = "funding_report", about = "Funding was paid or received.",
        fields = {
            { abbr = "amount", name = "amount", offset = 0, size = 8, kind = "i64", scale = 6, about = "Received, micro-units; negative is paid." },
            { abbr = "position", name = "position", offset = 8, size = 8, kind = "i64", about = "Position, lots." },
            { abbr = "funding_micro", name = "fundingMicro", offset = 16, size = 8, kind = "i64", scale = 6, about = "Paid by a long lot since it was listed, micro-units." },
            { abbr = "engine_time", name = "engineTime", offset = 24, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 32, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 40, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 44, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "pad1", name = "pad1", offset = 46, size = 2, kind = "u16", about = "" },
        },
        groups = {
        },
    },
    [221] = {
        name = "ExpiryReport", abbr = "expiry_report", about = "A position in an expired instrument became cash.",
        fields = {
            { abbr = "amount", name = "amount", offset = 0, size = 8, kind = "i64", scale = 6, about = "Received, micro-units; negative is paid." },
            { abbr = "position", name = "position", offset = 8, size = 8, kind = "i64", about = "Lots that were held." },
            { abbr = "value_micro", name = "valueMicro", offset = 16, size = 8, kind = "i64", scale = 6, about = "Settlement value of a lot, micro-units." },
            { abbr = "engine_time", name = "engineTime", offset = 24, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 32, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 40, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 44, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "pad1", name = "pad1", offset = 46, size = 2, kind = "u16", about = "" },
        },
        groups = {
        },
    },
    [222] = {
        name = "LiquidationReport", abbr = "liquidation_report", about = "A step of a liquidation touched the account.",
        fields = {
            { abbr = "amount", name = "amount", offset = 0, size = 8, kind = "i64", scale = 6, about = "Paid for the step, micro-units, rounded up; negative is received." },
            { abbr = "quantity", name = "quantity", offset = 8, size = 8, kind = "i64", about = "Orders cancelled, or lots closed." },
            { abbr = "equity", name = "equity", offset = 16, size = 8, kind = "i64", scale = 6, about = "Claim after, micro-units, rounded down." },
            { abbr = "maintenance", name = "maintenance", offset = 24, size = 8, kind = "i64", scale = 6, about = "Maintenance margin after, micro-units." },
            { abbr = "engine_time", name = "engineTime", offset = 32, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "engine_seq", name = "engineSeq", offset = 40, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "account", name = "account", offset = 48, size = 4, kind = "u32", about = "Account." },
            { abbr = "instrument", name = "instrument", offset = 52, size = 2, kind = "u16", null = "65535", about = "Instrument; null where there is none." },
            { abbr = "step", name = "step", offset = 54, size = 1, kind = "u8", enum = "LiquidationStepKind", about = "0 orders cancelled, 1 closed in the book, 2 fund paid, 3 deleveraged, 4 charged." },
            { abbr = "is_own", name = "isOwn", offset = 55, size = 1, kind = "u8", about = "Whether the account is the one that is liquidated: 1, else 0." },
        },
        groups = {
        },
    },
    [300] = {
        name = "InstrumentDefinition", abbr = "instrument_definition", about = "An instrument is listed.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "strike", name = "strike", offset = 16, size = 8, kind = "i64", null = "-9223372036854775808", scale = 9, about = "Strike x 1e-9; of a power perpetual the index at which it is worth the index; else null." },
            { abbr = "expiry", name = "expiry", offset = 24, size = 8, kind = "u64", time = true, about = "Expiry, ns; of an everlasting option the time between two payments of funding; else zero." },
            { abbr = "tick_size", name = "tickSize", offset = 32, size = 8, kind = "i64", scale = 9, about = "Tick x 1e-9." },
            { abbr = "lot_size", name = "lotSize", offset = 40, size = 8, kind = "i64", scale = 9, about = "Units of the underlying in a lot x 1e-9." },
            { abbr = "band_low", name = "bandLow", offset = 48, size = 8, kind = "i64", scale = 9, about = "Lowest price of the band x 1e-9." },
            { abbr = "band_high", name = "bandHigh", offset = 56, size = 8, kind = "i64", scale = 9, about = "Highest price of the band x 1e-9." },
            { abbr = "coarse_from", name = "coarseFrom", offset = 64, size = 8, kind = "i64", null = "-9223372036854775808", scale = 9, about = "From this price x 1e-9 on the tick is coarseTick; null: one tick for all prices." },
            { abbr = "coarse_tick", name = "coarseTick", offset = 72, size = 8, kind = "i64", null = "-9223372036854775808", scale = 9, about = "Tick from coarseFrom on x 1e-9; null: none." },
            { abbr = "symbol", name = "symbol", offset = 80, size = 16, kind = "text", about = "Name, padded with zero bytes." },
            { abbr = "instrument", name = "instrument", offset = 96, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "kind", name = "kind", offset = 98, size = 1, kind = "u8", enum = "InstrumentKind", about = "0 perpetual, 1 call, 2 put, 3 dated future, 4 everlasting call, 5 everlasting put, 6 power perpetual." },
            { abbr = "flags", name = "flags", offset = 99, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "tick_value_micro", name = "tickValueMicro", offset = 100, size = 4, kind = "u32", about = "Value of a tick for one lot, micro-units." },
        },
        groups = {
        },
    },
    [301] = {
        name = "TradingStatus", abbr = "trading_status", about = "An instrument enters a trading state.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "instrument", name = "instrument", offset = 16, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "state", name = "state", offset = 18, size = 1, kind = "u8", enum = "TradingState", about = "State from now on." },
            { abbr = "flags", name = "flags", offset = 19, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 20, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [302] = {
        name = "AuctionUpdate", abbr = "auction_update", about = "What an auction would do if it ended now.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "price", name = "price", offset = 16, size = 8, kind = "i64", null = "-9223372036854775808", scale = 9, about = "Price at which all would trade x 1e-9; null while nothing crosses." },
            { abbr = "quantity", name = "quantity", offset = 24, size = 8, kind = "i64", about = "Lots that would trade." },
            { abbr = "imbalance", name = "imbalance", offset = 32, size = 8, kind = "i64", about = "Lots that would be left at that price: above zero of buyers, below zero of sellers." },
            { abbr = "instrument", name = "instrument", offset = 40, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "flags", name = "flags", offset = 42, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 43, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 44, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [303] = {
        name = "IndexUpdate", abbr = "index_update", about = "A new risk table is in force.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "epoch", name = "epoch", offset = 16, size = 8, kind = "u64", about = "Risk epoch." },
            { abbr = "index_micro", name = "indexMicro", offset = 24, size = 8, kind = "i64", scale = 6, about = "Index, micro-units." },
            { abbr = "flags", name = "flags", offset = 32, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 33, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 34, size = 2, kind = "u16", about = "" },
            { abbr = "pad3", name = "pad3", offset = 36, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [304] = {
        name = "MarkPrice", abbr = "mark_price", about = "Mark and collar of one instrument in the new table.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "epoch", name = "epoch", offset = 16, size = 8, kind = "u64", about = "Risk epoch." },
            { abbr = "mark_micro", name = "markMicro", offset = 24, size = 8, kind = "i64", scale = 6, about = "Value of one lot at the mark, micro-units." },
            { abbr = "collar_low", name = "collarLow", offset = 32, size = 8, kind = "i64", scale = 9, about = "Lowest price that may trade x 1e-9." },
            { abbr = "collar_high", name = "collarHigh", offset = 40, size = 8, kind = "i64", scale = 9, about = "Highest price that may trade x 1e-9." },
            { abbr = "instrument", name = "instrument", offset = 48, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "flags", name = "flags", offset = 50, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 51, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 52, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [310] = {
        name = "OrderAdd", abbr = "order_add", about = "An order joins the book, behind all others at its price.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "order_id", name = "orderId", offset = 16, size = 8, kind = "u64", about = "Order." },
            { abbr = "price", name = "price", offset = 24, size = 8, kind = "i64", scale = 9, about = "Price x 1e-9." },
            { abbr = "quantity", name = "quantity", offset = 32, size = 8, kind = "i64", about = "Lots." },
            { abbr = "instrument", name = "instrument", offset = 40, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "side", name = "side", offset = 42, size = 1, kind = "u8", enum = "Side", about = "0 buy, 1 sell." },
            { abbr = "flags", name = "flags", offset = 43, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 44, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [311] = {
        name = "OrderReduce", abbr = "order_reduce", about = "An order became smaller without a trade and keeps its place.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "order_id", name = "orderId", offset = 16, size = 8, kind = "u64", about = "Order." },
            { abbr = "quantity", name = "quantity", offset = 24, size = 8, kind = "i64", about = "Lots left." },
            { abbr = "instrument", name = "instrument", offset = 32, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "side", name = "side", offset = 34, size = 1, kind = "u8", enum = "Side", about = "0 buy, 1 sell." },
            { abbr = "flags", name = "flags", offset = 35, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 36, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [313] = {
        name = "OrderDelete", abbr = "order_delete", about = "An order left the book without a trade.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "order_id", name = "orderId", offset = 16, size = 8, kind = "u64", about = "Order." },
            { abbr = "instrument", name = "instrument", offset = 24, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "side", name = "side", offset = 26, size = 1, kind = "u8", enum = "Side", about = "0 buy, 1 sell." },
            { abbr = "flags", name = "flags", offset = 27, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 28, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [314] = {
        name = "OrderExecuted", abbr = "order_executed", about = "A resting order traded; it leaves the book when leaves is zero.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "order_id", name = "orderId", offset = 16, size = 8, kind = "u64", about = "Resting order." },
            { abbr = "trade_id", name = "tradeId", offset = 24, size = 8, kind = "u64", about = "Trade." },
            { abbr = "price", name = "price", offset = 32, size = 8, kind = "i64", scale = 9, about = "Price x 1e-9." },
            { abbr = "quantity", name = "quantity", offset = 40, size = 8, kind = "i64", about = "Lots traded." },
            { abbr = "leaves", name = "leaves", offset = 48, size = 8, kind = "i64", about = "Lots left." },
            { abbr = "instrument", name = "instrument", offset = 56, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "side", name = "side", offset = 58, size = 1, kind = "u8", enum = "Side", about = "Side of the resting order: 0 buy, 1 sell." },
            { abbr = "flags", name = "flags", offset = 59, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 60, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [320] = {
        name = "SettlementSummary", abbr = "settlement_summary", about = "A delta settlement was made.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "settlement_no", name = "settlementNo", offset = 16, size = 8, kind = "u64", about = "From 1." },
            { abbr = "index_before_micro", name = "indexBeforeMicro", offset = 24, size = 8, kind = "i64", scale = 6, about = "Index before, micro-units." },
            { abbr = "index_after_micro", name = "indexAfterMicro", offset = 32, size = 8, kind = "i64", scale = 6, about = "Index after, micro-units." },
            { abbr = "transferred", name = "transferred", offset = 40, size = 8, kind = "i64", scale = 6, about = "Sum of all positive transfers, micro-units (the negative ones add up to the same)." },
            { abbr = "delta_leg", name = "deltaLeg", offset = 48, size = 8, kind = "i64", scale = 6, about = "Sum of the absolute delta legs, micro-units." },
            { abbr = "residual", name = "residual", offset = 56, size = 8, kind = "i64", scale = 6, about = "Sum of the absolute residuals, micro-units." },
            { abbr = "accounts", name = "accounts", offset = 64, size = 4, kind = "u32", about = "Accounts with a position." },
            { abbr = "trigger", name = "trigger", offset = 68, size = 1, kind = "u8", enum = "SettlementTrigger", about = "0 index moved by the threshold, 1 interval passed." },
            { abbr = "flags", name = "flags", offset = 69, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 70, size = 2, kind = "u16", about = "" },
        },
        groups = {
        },
    },
    [321] = {
        name = "BatchSealed", abbr = "batch_sealed", about = "A batch was closed and goes to the prover.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "batch_no", name = "batchNo", offset = 16, size = 8, kind = "u64", about = "From 1." },
            { abbr = "first_seq", name = "firstSeq", offset = 24, size = 8, kind = "u64", about = "First journal record covered." },
            { abbr = "fill_rows", name = "fillRows", offset = 32, size = 4, kind = "u32", about = "Netted fill rows." },
            { abbr = "accounts", name = "accounts", offset = 36, size = 4, kind = "u32", about = "Accounts touched." },
            { abbr = "reason", name = "reason", offset = 40, size = 1, kind = "u8", enum = "SealReason", about = "0 full, 1 timer, 2 risk table changed, 3 operator, 4 liquidation." },
            { abbr = "flags", name = "flags", offset = 41, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 42, size = 2, kind = "u16", about = "" },
            { abbr = "pad2", name = "pad2", offset = 44, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [322] = {
        name = "FundingRate", abbr = "funding_rate", about = "Funding of an instrument was fixed: holders of a long lot paid `change`, those of a short one received it.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "funding_micro", name = "fundingMicro", offset = 16, size = 8, kind = "i64", scale = 6, about = "Paid by a long lot since it was listed, micro-units." },
            { abbr = "change", name = "change", offset = 24, size = 8, kind = "i64", scale = 6, about = "Paid by a long lot now, micro-units." },
            { abbr = "premium_micro", name = "premiumMicro", offset = 32, size = 8, kind = "i64", scale = 6, about = "Mean premium of a lot that it was made from, after the clamp, micro-units." },
            { abbr = "samples", name = "samples", offset = 40, size = 4, kind = "u32", about = "Samples of the premium." },
            { abbr = "instrument", name = "instrument", offset = 44, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "flags", name = "flags", offset = 46, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 47, size = 1, kind = "u8", about = "" },
        },
        groups = {
        },
    },
    [323] = {
        name = "InstrumentSettled", abbr = "instrument_settled", about = "An instrument that has expired has its settlement price.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "price_micro", name = "priceMicro", offset = 16, size = 8, kind = "i64", scale = 6, about = "Settlement price of one unit of underlying, micro-units." },
            { abbr = "value_micro", name = "valueMicro", offset = 24, size = 8, kind = "i64", scale = 6, about = "What a lot is worth for good, micro-units." },
            { abbr = "instrument", name = "instrument", offset = 32, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "flags", name = "flags", offset = 34, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 35, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 36, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [324] = {
        name = "LiquidationStep", abbr = "liquidation_step", about = "A step of a liquidation; whose it is, is not told.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "amount", name = "amount", offset = 16, size = 8, kind = "i64", scale = 6, about = "Penalty of a close, draw of the fund, or charge, micro-units, rounded down." },
            { abbr = "fund", name = "fund", offset = 24, size = 8, kind = "i64", scale = 6, about = "Insurance fund after the step, micro-units, rounded down." },
            { abbr = "quantity", name = "quantity", offset = 32, size = 8, kind = "i64", about = "Orders cancelled, or lots closed." },
            { abbr = "instrument", name = "instrument", offset = 40, size = 2, kind = "u16", null = "65535", about = "Instrument; null where there is none." },
            { abbr = "step", name = "step", offset = 42, size = 1, kind = "u8", enum = "LiquidationStepKind", about = "0 orders cancelled, 1 closed in the book, 2 fund paid, 3 deleveraged, 4 charged." },
            { abbr = "flags", name = "flags", offset = 43, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 44, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [325] = {
        name = "RiskRules", abbr = "risk_rules", about = "Rules of risk, announced or in force.",
        fields = {
            { abbr = "engine_seq", name = "engineSeq", offset = 0, size = 8, kind = "u64", about = "Journal record." },
            { abbr = "engine_time", name = "engineTime", offset = 8, size = 8, kind = "u64", time = true, about = "Time of the record, ns." },
            { abbr = "effective_time", name = "effectiveTime", offset = 16, size = 8, kind = "u64", time = true, about = "In force from then on, ns." },
            { abbr = "funding_interval", name = "fundingInterval", offset = 24, size = 8, kind = "u64", time = true, about = "Time between two fundings, ns." },
            { abbr = "funding_period", name = "fundingPeriod", offset = 32, size = 8, kind = "u64", time = true, about = "Time in which a premium is paid in full, ns." },
            { abbr = "expiry_window", name = "expiryWindow", offset = 40, size = 8, kind = "u64", time = true, about = "Time over which the settlement price is averaged, ns." },
            { abbr = "impact_lots", name = "impactLots", offset = 48, size = 8, kind = "i64", about = "Lots whose mean price is the impact price of a side." },
            { abbr = "funding_clamp_ppm", name = "fundingClampPpm", offset = 56, size = 4, kind = "u32", about = "Largest premium that counts, ppm of the mark." },
            { abbr = "initial_extra_ppm", name = "initialExtraPpm", offset = 60, size = 4, kind = "u32", about = "Initial margin over maintenance margin, ppm of the latter." },
            { abbr = "exit_extra_ppm", name = "exitExtraPpm", offset = 64, size = 4, kind = "u32", about = "A liquidation stops when so much of the maintenance margin is free, ppm of it." },
            { abbr = "liquidation_fee_ppm", name = "liquidationFeePpm", offset = 68, size = 4, kind = "u32", about = "Penalty, ppm of the notional that a liquidation closed." },
            { abbr = "slice_ppm", name = "slicePpm", offset = 72, size = 4, kind = "u32", about = "Part of a position that one step of a liquidation closes, ppm." },
            { abbr = "switches", name = "switches", offset = 76, size = 1, kind = "u8", set = "RiskSwitches", about = "Bit 0 funding, bit 1 expiry, bit 2 liquidation." },
            { abbr = "in_force", name = "inForce", offset = 77, size = 1, kind = "u8", about = "0 announced, 1 in force." },
            { abbr = "flags", name = "flags", offset = 78, size = 1, kind = "u8", set = "FeedFlags", about = "Bit 0: last message of the event." },
            { abbr = "pad1", name = "pad1", offset = 79, size = 1, kind = "u8", about = "" },
            { abbr = "short_option_bp", name = "shortOptionBp", offset = 80, size = 2, kind = "u16", about = "Contingency on short options, 1/10000 of their notional." },
            { abbr = "option_haircut_bp", name = "optionHaircutBp", offset = 82, size = 2, kind = "u16", about = "Haircut on the value of long options as collateral, 1/10000 of it." },
            { abbr = "pad2", name = "pad2", offset = 84, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [330] = {
        name = "SnapshotCycle", abbr = "snapshot_cycle", about = "A cycle of snapshots begins: what follows up to the first header is as of lastSeq.",
        fields = {
            { abbr = "cycle_no", name = "cycleNo", offset = 0, size = 8, kind = "u64", about = "From 1 since the daemon's start." },
            { abbr = "last_seq", name = "lastSeq", offset = 8, size = 8, kind = "u64", about = "Feed messages up to this one are contained." },
            { abbr = "engine_seq", name = "engineSeq", offset = 16, size = 8, kind = "u64", about = "Journal record of that message." },
            { abbr = "instruments", name = "instruments", offset = 24, size = 2, kind = "u16", about = "Instruments that the cycle will show." },
            { abbr = "pad1", name = "pad1", offset = 26, size = 2, kind = "u16", about = "" },
            { abbr = "pad2", name = "pad2", offset = 28, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [331] = {
        name = "SnapshotHeader", abbr = "snapshot_header", about = "The snapshot of one instrument begins.",
        fields = {
            { abbr = "cycle_no", name = "cycleNo", offset = 0, size = 8, kind = "u64", about = "Cycle." },
            { abbr = "last_seq", name = "lastSeq", offset = 8, size = 8, kind = "u64", about = "Feed messages up to this one are contained." },
            { abbr = "engine_seq", name = "engineSeq", offset = 16, size = 8, kind = "u64", about = "Journal record of that message." },
            { abbr = "orders", name = "orders", offset = 24, size = 4, kind = "u32", about = "Resting orders, oldest first." },
            { abbr = "messages", name = "messages", offset = 28, size = 4, kind = "u32", about = "Messages behind this one, the trailer included." },
            { abbr = "instrument", name = "instrument", offset = 32, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "state", name = "state", offset = 34, size = 1, kind = "u8", enum = "TradingState", about = "State." },
            { abbr = "pad1", name = "pad1", offset = 35, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 36, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [332] = {
        name = "SnapshotOrder", abbr = "snapshot_order", about = "A resting order; those before it in the snapshot are older.",
        fields = {
            { abbr = "order_id", name = "orderId", offset = 0, size = 8, kind = "u64", about = "Order." },
            { abbr = "price", name = "price", offset = 8, size = 8, kind = "i64", scale = 9, about = "Price x 1e-9." },
            { abbr = "quantity", name = "quantity", offset = 16, size = 8, kind = "i64", about = "Open lots." },
            { abbr = "instrument", name = "instrument", offset = 24, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "side", name = "side", offset = 26, size = 1, kind = "u8", enum = "Side", about = "0 buy, 1 sell." },
            { abbr = "pad1", name = "pad1", offset = 27, size = 1, kind = "u8", about = "" },
            { abbr = "pad2", name = "pad2", offset = 28, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [333] = {
        name = "SnapshotTrailer", abbr = "snapshot_trailer", about = "The snapshot of one instrument is complete.",
        fields = {
            { abbr = "last_seq", name = "lastSeq", offset = 0, size = 8, kind = "u64", about = "As in the header." },
            { abbr = "orders", name = "orders", offset = 8, size = 4, kind = "u32", about = "As in the header." },
            { abbr = "instrument", name = "instrument", offset = 12, size = 2, kind = "u16", about = "Instrument." },
            { abbr = "pad1", name = "pad1", offset = 14, size = 2, kind = "u16", about = "" },
        },
        groups = {
        },
    },
    [334] = {
        name = "EndOfCycle", abbr = "end_of_cycle", about = "All instruments were shown; the next cycle follows.",
        fields = {
            { abbr = "cycle_no", name = "cycleNo", offset = 0, size = 8, kind = "u64", about = "Cycle." },
            { abbr = "last_seq", name = "lastSeq", offset = 8, size = 8, kind = "u64", about = "Newest feed message when the cycle ended." },
            { abbr = "instruments", name = "instruments", offset = 16, size = 2, kind = "u16", about = "Instruments shown: a receiver that has fewer has lost some." },
            { abbr = "pad1", name = "pad1", offset = 18, size = 2, kind = "u16", about = "" },
            { abbr = "pad2", name = "pad2", offset = 20, size = 4, kind = "u32", about = "" },
        },
        groups = {
        },
    },
    [340] = {
        name = "FeedCheckpoint", abbr = "feed_checkpoint", about = "The venue signs what the feed has said.",
        fields = {
            { abbr = "checkpoint_no", name = "checkpointNo", offset = 0, size = 8, kind = "u64", about = "From 1 since the daemon's start." },
            { abbr = "timestamp", name = "timestamp", offset = 8, size = 8, kind = "u64", time = true, about = "Venue's clock, ns." },
            { abbr = "first_seq", name = "firstSeq", offset = 16, size = 8, kind = "u64", about = "First message of the range." },
            { abbr = "last_seq", name = "lastSeq", offset = 24, size = 8, kind = "u64", about = "Last message of the range." },
            { abbr = "engine_seq", name = "engineSeq", offset = 32, size = 8, kind = "u64", about = "Journal record of the last message." },
            { abbr = "batch_no", name = "batchNo", offset = 40, size = 8, kind = "u64", about = "Newest sealed batch that was written; zero before the first." },
            { abbr = "running_hash", name = "runningHash", offset = 48, size = 32, kind = "bytes", about = "Hash of all messages from 1 to lastSeq." },
            { abbr = "range_hash", name = "rangeHash", offset = 80, size = 32, kind = "bytes", about = "Hash of the messages of the range." },
            { abbr = "ledger_digest", name = "ledgerDigest", offset = 112, size = 32, kind = "bytes", about = "Digest of the ledger at the seal of that batch." },
            { abbr = "feed_session", name = "feedSession", offset = 144, size = 16, kind = "text", about = "MoldUDP64 session of the feed." },
            { abbr = "signature", name = "signature", offset = 160, size = 64, kind = "bytes", about = "Ed25519 by the venue's key." },
        },
        groups = {
        },
    },
}
-- end

local HEADER_LEN = 32
local TAG_LEN = 16
local SBE_LEN = 8
local DIMENSION_LEN = 4

local deltabox = Proto("deltabox", "Deltabox order entry")
local feed = Proto("deltabox_feed", "Deltabox market data")

local KINDS = { [0] = "control", [1] = "data", [2] = "retransmission", [3] = "heartbeat" }
local NAMES = {}
for template, message in pairs(MESSAGES) do
    NAMES[template] = message.name
end

-- What stands around the messages.
local frame = {
    version = ProtoField.uint8("deltabox.version", "version"),
    kind = ProtoField.uint8("deltabox.kind", "kind", base.DEC, KINDS),
    length = ProtoField.uint16("deltabox.length", "length"),
    conn_id = ProtoField.uint32("deltabox.conn_id", "connId"),
    packet_no = ProtoField.uint64("deltabox.packet_no", "packetNo"),
    next_seq_no = ProtoField.uint64("deltabox.next_seq_no", "nextSeqNo"),
    ack_seq_no = ProtoField.uint64("deltabox.ack_seq_no", "ackSeqNo"),
    tag = ProtoField.bytes("deltabox.tag", "tag"),
    msg_size = ProtoField.uint16("deltabox.msg_size", "msgSize"),
    block_length = ProtoField.uint16("deltabox.block_length", "blockLength"),
    template = ProtoField.uint16("deltabox.template", "templateId", base.DEC, NAMES),
    schema = ProtoField.uint16("deltabox.schema", "schemaId", base.HEX),
    schema_version = ProtoField.uint16("deltabox.schema_version", "schema version"),
    entry_length = ProtoField.uint16("deltabox.entry_length", "length of an entry"),
    entries = ProtoField.uint16("deltabox.entries", "entries"),
}
local cut = ProtoExpert.new("deltabox.cut", "Cut short", expert.group.MALFORMED, expert.severity.ERROR)
local foreign = ProtoExpert.new("deltabox.foreign", "Not of this schema", expert.group.UNDECODED, expert.severity.WARN)

local MAKERS = {
    u8 = ProtoField.uint8,
    u16 = ProtoField.uint16,
    u32 = ProtoField.uint32,
    u64 = ProtoField.uint64,
    i8 = ProtoField.int8,
    i16 = ProtoField.int16,
    i32 = ProtoField.int32,
    i64 = ProtoField.int64,
}

local protofields = {}
for _, field in pairs(frame) do
    table.insert(protofields, field)
end

-- Gives each field of a block its ProtoField.
local function declare(prefix, fields)
    for _, field in ipairs(fields) do
        local abbr, about = prefix .. "." .. field.abbr, field.about
        if field.kind == "text" then
            field.proto = ProtoField.string(abbr, field.name, base.ASCII, about)
        elseif field.kind == "bytes" then
            field.proto = ProtoField.bytes(abbr, field.name, base.NONE, about)
        else
            local values = field.enum and ENUMS[field.enum]
            field.proto = MAKERS[field.kind](abbr, field.name, base.DEC, values, nil, about)
        end
        table.insert(protofields, field.proto)
    end
end

for _, message in pairs(MESSAGES) do
    message.prefix = "deltabox." .. message.abbr
    -- The message itself is a field, so that `deltabox.rejected` finds all rejects.
    message.proto = ProtoField.none(message.prefix, message.name, message.about)
    table.insert(protofields, message.proto)
    declare(message.prefix, message.fields)
    for _, group in ipairs(message.groups) do
        group.prefix = message.prefix .. "." .. group.abbr
        group.proto = ProtoField.none(group.prefix, group.name, group.about)
        table.insert(protofields, group.proto)
        declare(group.prefix, group.fields)
    end
end
deltabox.fields = protofields
deltabox.experts = { cut, foreign }

-- An integer as text with a decimal point, without loss.
local function scaled(text, places)
    local sign, digits = text:match("^(-?)(%d+)$")
    digits = string.rep("0", places + 1 - #digits) .. digits
    local fraction = digits:sub(-places):gsub("0+$", "")
    return sign .. digits:sub(1, -places - 1) .. (fraction == "" and "" or "." .. fraction)
end

-- What a number means, behind the number.
local function meaning(field, range)
    if field.null and tostring(range:le_int64()) == field.null then
        return " (none)"
    elseif field.null and range:len() < 8 and tostring(range:le_uint()) == field.null then
        return " (none)"
    elseif field.scale then
        return " = " .. scaled(tostring(range:le_int64()), field.scale)
    elseif field.set then
        local names, value = {}, range:le_uint64()
        for bit, name in pairs(SETS[field.set]) do
            if value:band(UInt64(1):lshift(bit)) ~= UInt64(0) then
                table.insert(names, name)
            end
        end
        table.sort(names)
        return " (" .. table.concat(names, ", ") .. ")"
    elseif field.time then
        local text = tostring(range:le_uint64())
        -- Later than 2001: a point in time, not a span.
        if #text == 19 then
            return os.date(" = %Y-%m-%dT%H:%M:%S", tonumber(text:sub(1, 10))) .. "." .. text:sub(11) .. " local"
        end
    end
    return ""
end

local function show_block(tree, range, fields)
    for _, field in ipairs(fields) do
        -- An older sender knows fewer fields.
        if field.offset + field.size <= range:len() then
            local part = range(field.offset, field.size)
            if field.kind == "text" or field.kind == "bytes" then
                tree:add(field.proto, part)
            else
                tree:add_le(field.proto, part):append_text(meaning(field, part))
            end
        end
    end
end

-- One message from its SBE header on; returns its name.
local function show_message(tree, range)
    if range:len() < SBE_LEN then
        tree:add_proto_expert_info(cut)
        return "?"
    end
    local block_length, template = range(0, 2):le_uint(), range(2, 2):le_uint()
    local message = MESSAGES[template]
    if range(4, 2):le_uint() ~= SCHEMA_ID then
        message = nil
    end
    local name = message and message.name or ("template " .. template)
    local item = message and tree:add(message.proto, range) or tree:add(range, name)
    item:set_text(name)
    item:add_le(frame.block_length, range(0, 2))
    item:add_le(frame.template, range(2, 2))
    item:add_le(frame.schema, range(4, 2))
    item:add_le(frame.schema_version, range(6, 2))
    if not message then
        item:add_proto_expert_info(foreign)
        return name
    end
    local at = SBE_LEN + block_length
    if at > range:len() then
        item:add_proto_expert_info(cut)
        return name
    end
    if block_length > 0 then
        show_block(item, range(SBE_LEN, block_length), message.fields)
    end
    for _, group in ipairs(message.groups) do
        if at + DIMENSION_LEN > range:len() then
            item:add_proto_expert_info(cut)
            return name
        end
        local length, count = range(at, 2):le_uint(), range(at + 2, 2):le_uint()
        item:add_le(frame.entry_length, range(at, 2))
        item:add_le(frame.entries, range(at + 2, 2))
        at = at + DIMENSION_LEN
        for i = 1, count do
            if length == 0 or at + length > range:len() then
                item:add_proto_expert_info(cut)
                return name
            end
            local entry = item:add(group.proto, range(at, length))
            entry:set_text(group.name .. " " .. i)
            show_block(entry, range(at, length), group.fields)
            at = at + length
        end
    end
    return name
end

local function is_ours(tvb)
    return tvb:len() >= HEADER_LEN + TAG_LEN
        and tvb(0, 1):uint() == 1
        and tvb(1, 1):uint() <= 3
        and tvb(2, 2):le_uint() == tvb:len()
end

function deltabox.dissector(tvb, info, root)
    if not is_ours(tvb) then
        return 0
    end
    info.cols.protocol = "Deltabox"
    local tree = root:add(deltabox, tvb())
    tree:add_le(frame.version, tvb(0, 1))
    tree:add_le(frame.kind, tvb(1, 1))
    tree:add_le(frame.length, tvb(2, 2))
    tree:add_le(frame.conn_id, tvb(4, 4))
    tree:add_le(frame.packet_no, tvb(8, 8))
    tree:add_le(frame.next_seq_no, tvb(16, 8))
    tree:add_le(frame.ack_seq_no, tvb(24, 8))
    local names = {}
    local at, last = HEADER_LEN, tvb:len() - TAG_LEN
    while at < last do
        local size = at + 2 <= last and tvb(at, 2):le_uint() or 0
        if size < 2 or at + size > last then
            tree:add_proto_expert_info(cut)
            break
        end
        tree:add_le(frame.msg_size, tvb(at, 2))
        if size > 2 then
            table.insert(names, show_message(tree, tvb(at + 2, size - 2)))
        end
        at = at + size
    end
    tree:add(frame.tag, tvb(last, TAG_LEN))
    local kind = KINDS[tvb(1, 1):uint()]
    info.cols.info = kind .. " " .. tostring(tvb(16, 8):le_uint64()) .. ": " .. table.concat(names, ", ")
    return tvb:len()
end

deltabox:register_heuristic("udp", function(tvb, info, root)
    if not is_ours(tvb) then
        return false
    end
    deltabox.dissector(tvb, info, root)
    return true
end)

local mold_data = Field.new("moldudp64.msgdata")

function feed.dissector(_, info, root)
    local messages = { mold_data() }
    local names, tree = {}, nil
    for _, data in ipairs(messages) do
        local range = data.range
        -- Other venues send MoldUDP64 too: ours have our schema id.
        if range:len() >= SBE_LEN and range(4, 2):le_uint() == SCHEMA_ID then
            tree = tree or root:add(feed, range, "Deltabox market data")
            table.insert(names, show_message(tree, range))
        end
    end
    if tree then
        info.cols.info:append(" " .. table.concat(names, ", "))
    end
end
register_postdissector(feed, true)

-- The ports of order entry stand in the preferences, since Wireshark has another owner for 4000.
local ports = DissectorTable.get("udp.port")
deltabox.prefs.ports = Pref.range("Order-entry ports", "4000", "UDP ports of order entry", 65535)
local taken = ""

local function take_ports()
    if taken ~= "" then
        ports:remove(taken, deltabox)
    end
    taken = tostring(deltabox.prefs.ports)
    if taken ~= "" then
        ports:add(taken, deltabox)
    end
end

deltabox.prefs_changed = take_ports
take_ports()
