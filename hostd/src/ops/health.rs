//! Whether the box lives and whether it is ready, each with its reasons.

use serde::Serialize;
use serde_json::Value;

/// Records that the disk may be behind of a box that is ready.
const BEHIND_MAX: u64 = 16_384;

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// Its name; it stays.
    pub check: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// How it is.
    pub is: String,
}

/// All that is looked at, and what it comes to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Health {
    /// Every check is as it should be.
    pub ready: bool,
    /// The checks.
    pub checks: Vec<Check>,
}

/// What a status says of the box's readiness: orders are taken, and what is answered is safe.
#[must_use]
pub fn of(status: &Value) -> Health {
    let number = |at: &str| status.pointer(at).and_then(Value::as_u64).unwrap_or(0);
    let word = |at: &str| status.pointer(at).and_then(Value::as_str);
    let is = |at: &str| status.pointer(at) == Some(&Value::Bool(true));
    let behind = number("/engine_seq").saturating_sub(number("/durable_seq"));
    let check = |check, ok, is: String| Check { check, ok, is };
    let oracle = match (is("/oracle/is_overridden"), word("/oracle/error")) {
        (true, _) => check("oracle", true, "the prices are the operator's".into()),
        (false, Some(why)) => check("oracle", false, why.into()),
        (false, None) => check("oracle", true, "the oracles agree".into()),
    };
    let clock = if is("/clock/gave_up") {
        "the counter was given up; the kernel's clock is used"
    } else {
        "checked against the kernel's"
    };
    let risk = match number("/risk_epoch") {
        0 => "no risk table yet: nothing trades".into(),
        n => format!("epoch {n}"),
    };
    let quorum = match (
        status["replication"].is_object(),
        is("/replication/refuses_risk"),
    ) {
        (false, _) => check("quorum", true, "no standbys are asked for".into()),
        (true, false) => check("quorum", true, "enough standbys follow".into()),
        (true, true) => check(
            "quorum",
            false,
            "standbys are lacking: new risk is refused".into(),
        ),
    };
    let checks = vec![
        check(
            "journal",
            behind <= BEHIND_MAX,
            format!("{behind} records are not on disk"),
        ),
        check("risk_table", number("/risk_epoch") > 0, risk),
        oracle,
        check("clock", true, clock.into()),
        quorum,
    ];
    Health {
        ready: checks.iter().all(|c| c.ok),
        checks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn failing(status: &Value) -> Vec<&'static str> {
        let health = of(status);
        let bad = health.checks.iter().filter(|c| !c.ok).map(|c| c.check);
        let bad: Vec<_> = bad.collect();
        assert_eq!(health.ready, bad.is_empty());
        bad
    }

    #[test]
    fn each_reason_alone_makes_the_box_unready() {
        let good = json!({
            "engine_seq": 100_000, "durable_seq": 99_990, "risk_epoch": 3,
            "oracle": {"error": null, "is_overridden": false}, "clock": {"gave_up": false},
            "replication": {"refuses_risk": false},
        });
        assert!(failing(&good).is_empty());
        let with = |at: &str, value: Value| {
            let mut status = good.clone();
            *status.pointer_mut(at).unwrap() = value;
            status
        };
        assert_eq!(failing(&with("/durable_seq", 1.into())), ["journal"]);
        assert_eq!(failing(&with("/risk_epoch", 0.into())), ["risk_table"]);
        let silent = with("/oracle/error", "0 oracles are fresh, 1 must be".into());
        assert_eq!(failing(&silent), ["oracle"]);
        let lacking = with("/replication/refuses_risk", true.into());
        assert_eq!(failing(&lacking), ["quorum"]);
        // The operator's prices do for the oracles'.
        let mut own = silent;
        own["oracle"]["is_overridden"] = true.into();
        assert!(failing(&own).is_empty());
    }
}
