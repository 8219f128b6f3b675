//! Decoders of what comes from outside never panic, and what they take they give back byte for byte.
#![no_main]

use firmware::session::{read_control, read_session_message};
use firmware::units::Seq;
use firmware::wire::datagram::{self, BODY_MAX, DatagramBuilder, PREFIX_LEN};
use firmware::wire::feed::{CheckpointMessage, FeedMessage, SnapshotMessage};
use firmware::wire::mold::{self, MoldHeader};
use firmware::wire::order::Request;
use firmware::wire::quote::{Asked, QuoteView, encode_quote};
use firmware::wire::report::Report;
use firmware::wire::sbe::{self, MessageHeader};
use firmware::wire::session::SessionMessage;
use libfuzzer_sys::fuzz_target;
use matcher::sequencer::Sequencer;

fn frame(data: &[u8]) {
    let Ok((header, body, tag)) = datagram::split(data) else {
        return;
    };
    let mut again = bytemuck::bytes_of(&header).to_vec();
    again.extend(body);
    again.extend(tag);
    assert_eq!(again, data);
    if body.len() <= BODY_MAX {
        let mut builder = DatagramBuilder::new();
        assert!(builder.fill(body, 1), "a body that fits");
        let h = header;
        let signed = builder.finish(
            h.kind,
            h.conn_id,
            h.packet_no,
            h.next_seq_no,
            h.ack_seq_no,
            |_, _| *tag,
        );
        assert_eq!(signed, data);
    }
    messages(body);
    // An untagged login is read by the same rules as a message under keys.
    if let Ok(message) = read_control(data) {
        assert_eq!(read_session_message(body), Ok(message));
    }
}

/// The messages of a body, each in every direction; together they are the body, up to the first that is cut.
fn messages(body: &[u8]) {
    let mut again = Vec::new();
    let mut cut = false;
    for message in datagram::messages(body) {
        assert!(!cut, "nothing follows a message that is cut");
        let Ok(bytes) = message else {
            cut = true;
            continue;
        };
        again.extend(((bytes.len() + PREFIX_LEN) as u16).to_le_bytes());
        again.extend(bytes);
        decoders(bytes);
    }
    assert!(body.starts_with(&again));
    assert!(cut || again.len() == body.len());
}

/// Whether a writer of this version made the header: only then are the bytes one to one.
fn is_ours(bytes: &[u8], header: MessageHeader) -> bool {
    bytes.starts_with(bytemuck::bytes_of(&header))
}

macro_rules! round_trip {
    ($bytes:expr, $($union:ty),+) => {$(
        if let Ok(message) = <$union>::decode($bytes) {
            let mut again = bytemuck::bytes_of(&message.header()).to_vec();
            again.extend(message.block());
            assert_eq!(<$union>::decode(&again), Ok(message));
            if is_ours($bytes, message.header()) {
                assert!($bytes.starts_with(&again));
            }
        }
    )+};
}

fn decoders(bytes: &[u8]) {
    round_trip!(
        bytes,
        Request,
        Report,
        FeedMessage,
        SnapshotMessage,
        CheckpointMessage,
        SessionMessage
    );
    match (Asked::decode(bytes), Request::decode(bytes)) {
        (Ok(Asked::Request(asked)), request) => assert_eq!(request, Ok(asked)),
        (Ok(Asked::MassQuote(view)), request) => {
            assert!(request.is_err());
            quote(&view);
        }
        (Err(_), request) => assert!(request.is_err()),
    }
    if let Ok((header, block)) = sbe::split(bytes) {
        assert_eq!(block.len(), usize::from(header.block_length));
        assert!(bytes[sbe::HEADER_LEN..].starts_with(block));
    }
}

fn quote(view: &QuoteView<'_>) {
    let entries: Vec<_> = view.entries().collect();
    assert_eq!(entries.len(), usize::from(view.head.num_in_group));
    let mut out = vec![0; 1 << 12];
    out[..sbe::HEADER_LEN].copy_from_slice(bytemuck::bytes_of(
        &<firmware::wire::quote::MassQuote as sbe::Message>::HEADER,
    ));
    // More entries than a mass quote may have are the gate's to refuse.
    let Some(len) = encode_quote(&view.head, &entries, &mut out[sbe::HEADER_LEN..]) else {
        assert!(entries.len() > firmware::wire::quote::QUOTE_ENTRIES_MAX);
        return;
    };
    let again = QuoteView::decode(&out[..sbe::HEADER_LEN + len]).expect("just encoded");
    assert!(again.entries().eq(entries));
    assert_eq!(again.head.cl_ord_id, view.head.cl_ord_id);
}

fn packet(data: &[u8]) {
    let Some((header, rest)) = MoldHeader::decode(data) else {
        assert!(data.len() < mold::HEADER_LEN);
        return;
    };
    let mut again = header.encode().to_vec();
    for block in mold::blocks(rest) {
        again.extend((block.len() as u16).to_be_bytes());
        again.extend(block);
        decoders(block);
    }
    assert!(data.starts_with(&again));
}

/// The body of a journal record, as it is replayed: template, then the body at an aligned place.
fn record(data: &[u8]) {
    let Some((template, body)) = data.split_first_chunk::<2>() else {
        return;
    };
    let mut words = vec![0u64; body.len().div_ceil(8)];
    let place = &mut bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..body.len()];
    place.copy_from_slice(body);
    let template = u16::from_le_bytes(*template);
    if let Ok(input) = Sequencer::new().replay(1, 1, template, 1, place) {
        assert_eq!((input.seq(), input.input().template()), (Seq(1), template));
        assert!(body.starts_with(input.input().bytes()));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 5 {
        0 => frame(data),
        1 => messages(data),
        2 => decoders(data),
        3 => packet(data),
        _ => record(data),
    }
});
