//! Connects, quotes one order, prints what the venue says, and leaves.
//!
//! ```text
//! cargo run -p client --example hello -- <venue address> <venue public key, hex> <member> <key file> <account> <price>
//! ```

use client::{
    Config, Credentials, E9, Event, OrderIds, Report, SecretKey, Session, Side, limit_order,
    mass_cancel, now, parse_e9,
};
use firmware::tag::SuiteSet;
use firmware::units::MemberId;
use std::error::Error;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [venue, venue_key, member, key_file, account, price] = args.as_slice() else {
        return Err(
            "usage: hello <venue address> <venue public key> <member> <key file> <account> <price>"
                .into(),
        );
    };

    // Who we are, and which venue we trust. The key file holds 64 hex digits and has mode 0600.
    let credentials = Credentials {
        member: MemberId(member.parse()?),
        key_id: 1,
        key: SecretKey::load(key_file.as_ref())?,
        venue: venue_key.parse()?,
        suites: SuiteSet::SAFE,
    };
    let mut session = Session::connect(Config::new(venue.parse()?, credentials))?;
    println!("connected");

    // Prices are exact decimals, quantities whole lots; our name of an order rises with each request.
    let account: u32 = account.parse()?;
    let mut ids = OrderIds::from_time(now());
    let order = limit_order(ids.next_id(), account, 0, Side::Buy, parse_e9(price)?, 1);
    let number = session.send(&order.into())?;
    println!(
        "request {number}: buy 1 lot of instrument 0 at {}",
        E9(order.price)
    );

    // `poll` does all the work: it sends, receives, and keeps the session alive.
    let start = Instant::now();
    let mut leaving = false;
    while start.elapsed() < Duration::from_secs(3) {
        while let Some(event) = session.poll(now()) {
            match event {
                Event::Report { seq, report } => show(seq, &report),
                Event::NotApplied { client_seq, .. } => {
                    println!("request {client_seq} got lost on the way; it will never act");
                }
                Event::Ended(reason) => return Err(reason.into()),
                other => println!("{other:?}"),
            }
        }
        if !leaving && start.elapsed() > Duration::from_secs(2) {
            leaving = true;
            session.send(&mass_cancel(ids.next_id(), account, None, None).into())?;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    session.terminate(now());
    Ok(())
}

fn show(seq: u64, report: &Report) {
    match report {
        Report::Accepted(m) => {
            println!(
                "report {seq}: order {} accepted at {}",
                m.order_id,
                E9(m.price)
            );
        }
        Report::Filled(m) => println!(
            "report {seq}: order {} filled {} lots at {}, {} left",
            m.order_id,
            m.quantity,
            E9(m.price),
            m.leaves
        ),
        Report::Canceled(m) => println!(
            "report {seq}: order {} canceled for {} lots, {} left",
            m.order_id, m.quantity, m.leaves
        ),
        Report::Rejected(m) => {
            let why = firmware::reject::RejectCode::from_wire(m.reason);
            let why = why.map_or("of a newer release", |c| c.sentence());
            println!("report {seq}: rejected with code {}: {why}", m.reason);
        }
        other => println!("report {seq}: {other:?}"),
    }
}
