//! What is refused, and with which words.

use super::*;
use firmware::units::TimeNs;

fn example() -> String {
    let key = handshake::SecretKey::from_seed(&[7; 32]).public();
    let key: String = key.to_bytes().iter().map(|b| format!("{b:02x}")).collect();
    include_str!("../../tests/example.toml").replace("PUBLIC_KEY", &key)
}

#[test]
fn the_example_is_accepted() {
    let c = Config::parse(&example()).unwrap();
    let perp = c.instruments[0].listing().unwrap();
    assert_eq!(
        (perp.tick_micro, perp.lot_e9, perp.base_ticks),
        (500_000, 1_000_000, 20_000)
    );
}

#[test]
fn each_mistake_gets_one_precise_line() {
    let table = [
        (
            "name = \"shared\"",
            "name = \"spread\"",
            "unknown variant `spread`",
        ),
        (
            "name = \"shared\"",
            "name = \"shared\"\ncores.engine = 1",
            "topology.cores.engine: no such tile; the tiles are hot, seal,",
        ),
        (
            "name = \"shared\"",
            "name = \"pinned\"\ncores = { engine = 1, journal = 1 }",
            "topology.cores.journal: core 1 is engine's, which never sleeps there",
        ),
        (
            "order_entry = \"127.0.0.1:4000\"",
            "order_entry = \"192.0.2.1:4000\"",
            "allow_untagged needs order ports on loopback",
        ),
        (
            "backend = \"uring\"",
            "backend = \"dpdk\"",
            "net.backend = \"dpdk\" needs [net.dpdk]",
        ),
        (
            "[topology]",
            "[topology]\ncolour = 1",
            "unknown field `colour`",
        ),
        ("tick = \"0.5\"", "tick = \"0.3\"", "whole ticks"),
        (
            "tick = \"0.5\"",
            "tick = \"abc\"",
            "'abc' is not a decimal number",
        ),
        ("id = 1\nname", "id = 0\nname", "id must be in 1..=256"),
        (
            "accounts = [1, 2]",
            "accounts = [1, 1]",
            "account 1 belongs to two members",
        ),
        (
            "session = \"DELTA00001\"",
            "session = \"X\"",
            "feed.session must be ten ASCII characters",
        ),
        (
            "session = \"DELTASNAP1\"",
            "session = \"DELTA00001\"",
            "name of another session",
        ),
        (
            "heartbeat_ms = 1000",
            "heartbeat_ms = 99",
            "feed.heartbeat_ms must be in 100..=10000",
        ),
        (
            "requesters = [\"127.0.0.0/8\"]",
            "requesters = [\"127.0.0.1/8\"]",
            "is no network such as",
        ),
        (
            "deviation_ppm = 20000",
            "deviation_ppm = 0",
            "oracle_panel: a deviation of 0 ppm",
        ),
        (
            "# quorum = 1 ",
            "quorum = 2 ",
            "a quorum of 2 of 1 oracles is no majority, or cannot be reached",
        ),
        (
            "durability = \"fsync\"",
            "durability = \"maybe\"",
            "unknown variant `maybe`",
        ),
        ("127.0.0.1:4000", "localhost", "invalid IPv4 socket address"),
        (
            "kind = \"call\"",
            "kind = \"perpetual\"",
            "instrument 1 (BTC-100000-C): strike: kind perpetual has no such key",
        ),
    ];
    for (from, to, want) in table {
        let text = example();
        assert!(text.contains(from), "{from}");
        let error = Config::parse(&text.replacen(from, to, 1)).unwrap_err();
        assert!(
            error.contains(want) && !error.contains('\n'),
            "{to}: {error}"
        );
    }
}

#[test]
fn sizes_beyond_the_release_and_ids_beyond_the_sizes_are_refused() {
    let max = Capacity::MAX;
    let orders = format!("capacity.orders: 1048576 is not in 1..={}", max.orders);
    let cases = [
        ("orders = 1048576", orders.as_str()),
        ("orders = 0", "capacity.orders: 0 is not in"),
        (
            "accounts = 65537",
            "capacity.accounts: 65537 is not in 1..=65536",
        ),
        (
            "members = 4097",
            "capacity.members: 4097 is not in 1..=4096",
        ),
        (
            "instruments = 257",
            "capacity.instruments: 257 is not in 1..=256",
        ),
        (
            "instruments = 1",
            "instrument 1 (BTC-100000-C): id must be below capacity.instruments, 1",
        ),
        ("members = 1", "member 2: id must be in 1..=1"),
        ("accounts = 3", "account 3 must be in 1..3"),
        ("sessions = 1", "unknown field `sessions`"),
    ];
    for (key, want) in cases {
        let error = Config::parse(&format!("{}\n[capacity]\n{key}", example())).unwrap_err();
        assert!(
            error.contains(want) && !error.contains('\n'),
            "{key}: {error}"
        );
    }
    let wide = example().replacen("id = 1\nsymbol", "id = 16\nsymbol", 1);
    let wide = format!("{wide}\n[capacity]\ninstruments = 17");
    let error = Config::parse(&wide).unwrap_err();
    assert!(error.contains("id must be below 16"), "{error}");
    let unproven = wide.replacen("[domain]", "[domain]\nproofs = false", 1);
    assert!(Config::parse(&unproven).is_ok());
    let most = format!(
        "{}\n[capacity]\norders = {}\naccounts = {}\nmembers = {}\ninstruments = {}",
        example(),
        max.orders,
        max.accounts,
        max.members,
        max.instruments
    );
    assert_eq!(Config::parse(&most).unwrap().capacity, max);
}

#[test]
fn who_gets_copies_has_members_to_copy_and_no_accounts() {
    let key = handshake::SecretKey::from_seed(&[7; 32]).public();
    let key: String = key.to_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let with = |rest: &str| {
        let member =
            format!("[[members]]\nid = 3\nname = \"copy\"\npublic_key = \"{key}\"\n{rest}\n");
        Config::parse(&format!("{}\n{member}", example()))
    };
    assert_eq!(
        with("drop_copy_of = [1, 2]").unwrap().members[2].drop_copy_of,
        [1, 2]
    );
    let cases = [
        (
            "accounts = [4]\ndrop_copy_of = [1]",
            "member 3: drop_copy_of: who gets copies may not trade: accounts must be empty",
        ),
        (
            "drop_copy_of = [4]",
            "member 3: drop_copy_of: no member 4 is configured",
        ),
        (
            "drop_copy_of = [3]",
            "member 3: drop_copy_of: member 3 gets copies itself",
        ),
        (
            "drop_copy_of = [2, 2]",
            "member 3: drop_copy_of: member 2 stands there twice",
        ),
    ];
    for (rest, want) in cases {
        assert_eq!(with(rest).unwrap_err(), want);
    }
}

/// All kinds, by what stands in place of the example's `kind`, `strike` and `expiry_unix_s`.
#[test]
fn every_kind_that_the_engine_prices_is_listed_and_reads_back_as_what_it_is() {
    use matcher::instrument::{EverlastingTerms, InstrumentKind as Is, OptionTerms};
    let terms = OptionTerms {
        strike_micro: 100_000_000_000,
        expiry: TimeNs(2_051_222_400_000_000_000),
    };
    let ever = EverlastingTerms {
        strike_micro: 100_000_000_000,
        period_ns: 86_400_000_000_000,
    };
    let (strike, expiry, period) = (
        "strike = \"100000\"",
        "expiry_unix_s = 2051222400",
        "period_s = 86400",
    );
    let scale = "scale = \"100000\"";
    let of = |kind: &str, keys: &[&str]| {
        let was = format!("kind = \"call\"\n{strike}\n{expiry}");
        let now = format!("kind = \"{kind}\"\n{}", keys.join("\n"));
        assert!(example().contains(&was));
        Config::parse(&example().replace(&was, &now))
    };
    for (n, kind, keys, is) in [
        (0, "perpetual", &[][..], Is::Perpetual),
        (1, "call", &[strike, expiry], Is::Call(terms)),
        (2, "put", &[strike, expiry], Is::Put(terms)),
        (
            3,
            "future",
            &[expiry],
            Is::Future {
                expiry: terms.expiry,
            },
        ),
        (
            4,
            "everlasting-call",
            &[strike, period],
            Is::EverlastingCall(ever),
        ),
        (
            5,
            "everlasting-put",
            &[strike, period],
            Is::EverlastingPut(ever),
        ),
        (
            6,
            "power-perpetual",
            &[scale],
            Is::Squared {
                scale_micro: 100_000_000_000,
            },
        ),
    ] {
        let record = of(kind, keys).unwrap().instruments[1].listing().unwrap();
        assert_eq!((record.kind, spec(&record).kind), (n, is), "{kind}");
        // Each key that the kind has is needed, and each that it has not is refused, by name.
        for key in [strike, expiry, period, scale] {
            let name = key.split(' ').next().unwrap();
            let (others, what): (Vec<&str>, _) = if keys.contains(&key) {
                let rest = keys.iter().filter(|k| **k != key);
                (rest.copied().collect(), "needs this key")
            } else {
                let more = keys.iter().chain([&key]);
                (more.copied().collect(), "has no such key")
            };
            let error = of(kind, &others).unwrap_err();
            let want = format!("instrument 1 (BTC-100000-C): {name}: kind {kind} {what}");
            assert_eq!(error, want);
        }
    }
    for (kind, keys, want) in [
        (
            "future",
            &["expiry_unix_s = 0"][..],
            "expiry_unix_s: must be 1 to 18446744073",
        ),
        (
            "everlasting-put",
            &[strike, "period_s = 18446744074"],
            "period_s: must be 1 to",
        ),
        (
            "everlasting-put",
            &[strike, "period_s = 99999999"],
            "period of 99999999000000000 ns",
        ),
        (
            "power-perpetual",
            &["scale = \"0\""],
            "scale of 0 micro-units",
        ),
        (
            "call",
            &["strike = \"0\"", expiry],
            "strike of 0 micro-units",
        ),
        ("swaption", &[], "unknown variant `swaption`"),
    ] {
        let error = of(kind, keys).unwrap_err();
        assert!(error.contains(want) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_box_among_others_is_read_and_its_mistakes_are_named() {
    let section = "[replication]\nname = \"a\"\nlisten = \"127.0.0.1:4010\"\nkey_file = \"k\"\n[[replication.peers]]\nname = \"b\"\naddress = \"127.0.0.1:4011\"\n";
    let replicated = example().replace("durability = \"fsync\"", "durability = \"replicated\"");
    let parse = |section: &str| Config::parse(&format!("{replicated}\n{section}"));
    let config = parse(section).unwrap();
    let read = config.replication.unwrap();
    assert_eq!(
        (read.quorum, read.bound_ms, read.alone_after_ms),
        (1, 1_000, None)
    );
    let refused = |section: &str| parse(section).unwrap_err();
    assert_eq!(
        refused(""),
        "journal.durability = \"replicated\" needs [replication]"
    );
    for (from, to, want) in [
        ("name = \"b\"", "name = \"a\"", "two boxes are called a"),
        ("name = \"a\"", "name = \"a b\"", "'a b' is no name"),
        (
            "key_file",
            "quorum = 2\nkey_file",
            "replication.quorum must be in 1..=1",
        ),
        (
            "key_file",
            "alone_after_ms = 10\nkey_file",
            "replication.alone_after_ms must be at least replication.bound_ms",
        ),
        (
            "key_file",
            "wait = \"disk\"\nkey_file",
            "unknown variant `disk`",
        ),
    ] {
        let error = refused(&section.replacen(from, to, 1));
        assert!(
            error.contains(want) && !error.contains('\n'),
            "{to}: {error}"
        );
    }
    let etcd = "[replication.etcd]\nendpoints = [\"127.0.0.1:2379\"]\nprefix = \"venue\"\n";
    assert!(refused(&format!("{section}{etcd}")).contains("replication.etcd.prefix"));
    let relaxed = example().replace("durability = \"fsync\"", "durability = \"relaxed\"");
    let error = Config::parse(&format!("{relaxed}\n{section}")).unwrap_err();
    assert!(
        error.contains("[replication] needs journal.durability"),
        "{error}"
    );
}
