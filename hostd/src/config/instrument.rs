//! `[[instruments]]`: what is listed, from the keys to the record that lists it and to what the pricing side reads.

use bytemuck::Zeroable;
use firmware::limits::INSTRUMENTS;
use firmware::units::{InstrumentId, TimeNs};
use firmware::wire::input::{
    InInstrument, KIND_CALL, KIND_EVERLASTING_CALL, KIND_EVERLASTING_PUT, KIND_FUTURE,
    KIND_PERPETUAL, KIND_POWER, KIND_PUT,
};
use matcher::instrument::{Collar, EverlastingTerms, InstrumentKind, InstrumentSpec, OptionTerms};
use serde::Deserialize;

/// `[[instruments]]`: decimals are strings, so that nothing is rounded on the way.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instrument {
    /// Column of the risk table.
    pub id: u16,
    /// At most 16 characters.
    pub symbol: String,
    /// `perpetual`, `call`, `put`, `future`, `everlasting-call`, `everlasting-put` or `power-perpetual`.
    pub kind: Kind,
    /// Units of the settlement asset; options only, everlasting ones too.
    pub strike: Option<String>,
    /// Seconds since the epoch; European options and dated futures only.
    pub expiry_unix_s: Option<u64>,
    /// Time between two payments of funding, s; everlasting options only.
    pub period_s: Option<u64>,
    /// The index at which a power perpetual is worth the index; power perpetuals only.
    pub scale: Option<String>,
    /// Price step.
    pub tick: String,
    /// Units of the underlying in one lot.
    pub lot: String,
    /// Lowest price of the book.
    pub band_low: String,
    /// Highest price of the book.
    pub band_high: String,
    /// Trades are confined to the mark plus or minus this share of the index.
    pub collar_ppm: u32,
    /// Largest order, lots.
    pub order_lots_max: i64,
    /// Largest position, lots.
    pub position_lots_max: i64,
    /// Which volatility of the oracle's reports prices it, 0 to 3.
    #[serde(default)]
    pub vol_slot: u8,
    /// Trading state at the start.
    #[serde(default)]
    pub state: StartState,
    /// A larger price step from some price on.
    pub coarse_tick: Option<CoarseTick>,
}

/// Trading states in which an instrument can start the day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartState {
    /// Orders are collected until the operator opens.
    PreOpen = 0,
    /// As `pre-open`, with an indicative price on the feed.
    Auction = 1,
    /// Orders trade as they come.
    #[default]
    Open = 2,
}

/// `coarse_tick`: the second row of the tick table.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoarseTick {
    /// First price with the larger step: a multiple of it.
    pub from: String,
    /// Price step from there on: a multiple of `tick`.
    pub tick: String,
}

/// Kinds of instrument.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Perpetual.
    Perpetual = KIND_PERPETUAL as isize,
    /// European call.
    Call = KIND_CALL as isize,
    /// European put.
    Put = KIND_PUT as isize,
    /// Dated future.
    Future = KIND_FUTURE as isize,
    /// Everlasting call.
    EverlastingCall = KIND_EVERLASTING_CALL as isize,
    /// Everlasting put.
    EverlastingPut = KIND_EVERLASTING_PUT as isize,
    /// Power perpetual of the second power.
    PowerPerpetual = KIND_POWER as isize,
}

impl Kind {
    /// As it stands in the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Perpetual => "perpetual",
            Self::Call => "call",
            Self::Put => "put",
            Self::Future => "future",
            Self::EverlastingCall => "everlasting-call",
            Self::EverlastingPut => "everlasting-put",
            Self::PowerPerpetual => "power-perpetual",
        }
    }

    /// Keys that say what it is; each is needed, and no other of them may stand there.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Perpetual => &[],
            Self::Call | Self::Put => &["strike", "expiry_unix_s"],
            Self::Future => &["expiry_unix_s"],
            Self::EverlastingCall | Self::EverlastingPut => &["strike", "period_s"],
            Self::PowerPerpetual => &["scale"],
        }
    }
}

impl Instrument {
    /// The listing's record, checked like the instrument that it describes.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn listing(&self) -> Result<InInstrument, String> {
        let name = format!("instrument {} ({})", self.id, self.symbol);
        let fail = |key: &str, why: &str| format!("{name}: {key}: {why}");
        if self.id as usize >= INSTRUMENTS {
            return Err(fail("id", &format!("must be below {INSTRUMENTS}")));
        }
        if self.symbol.is_empty() || self.symbol.len() > 16 {
            return Err(fail("symbol", "must have 1 to 16 characters"));
        }
        if self.vol_slot > 3 {
            return Err(fail("vol_slot", "must be 0 to 3"));
        }
        if !self.symbol.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(fail("symbol", "must be ASCII without spaces"));
        }
        for (key, stands) in [
            ("strike", self.strike.is_some()),
            ("expiry_unix_s", self.expiry_unix_s.is_some()),
            ("period_s", self.period_s.is_some()),
            ("scale", self.scale.is_some()),
        ] {
            let wanted = self.kind.keys().contains(&key);
            if stands != wanted {
                let what = if wanted {
                    "needs this key"
                } else {
                    "has no such key"
                };
                return Err(fail(key, &format!("kind {} {what}", self.kind.word())));
            }
        }
        let micro = |key: &str, text: &str| decimal(text, 6).map_err(|e| fail(key, &e));
        let tick_micro = micro("tick", &self.tick)?;
        let (low, high) = (
            micro("band_low", &self.band_low)?,
            micro("band_high", &self.band_high)?,
        );
        if tick_micro < 1 || low % tick_micro != 0 || high % tick_micro != 0 || high < low {
            return Err(fail(
                "tick, band_low, band_high",
                "the band must rise and be whole ticks",
            ));
        }
        let ticks = |price: i64| {
            i32::try_from(price / tick_micro).map_err(|_| fail("band_high", "too many ticks"))
        };
        let (tick2_from_ticks, tick2_multiple) = match &self.coarse_tick {
            None => (0, 0),
            Some(coarse) => {
                let (from, tick) = (
                    micro("coarse_tick.from", &coarse.from)?,
                    micro("coarse_tick.tick", &coarse.tick)?,
                );
                if tick <= tick_micro || tick % tick_micro != 0 || from % tick != 0 || from < tick {
                    let what = "`tick` must be a larger multiple of the tick, and `from` of it";
                    return Err(fail("coarse_tick", what));
                }
                let multiple = u32::try_from(tick / tick_micro)
                    .map_err(|_| fail("coarse_tick.tick", "too large"))?;
                (ticks(from)?, multiple)
            }
        };
        let (key, seconds) = match (self.expiry_unix_s, self.period_s) {
            (Some(s), _) => ("expiry_unix_s", s),
            (_, Some(s)) => ("period_s", s),
            _ => ("", 0),
        };
        let ns = seconds.checked_mul(1_000_000_000).filter(|ns| *ns > 0);
        let ns = match (key, ns) {
            ("", _) => 0,
            (key, None) => return Err(fail(key, "must be 1 to 18446744073")),
            (_, Some(ns)) => ns,
        };
        let mut symbol = [0; 16];
        symbol[..self.symbol.len()].copy_from_slice(self.symbol.as_bytes());
        let listing = InInstrument {
            strike_micro: match (&self.strike, &self.scale) {
                (Some(strike), _) => micro("strike", strike)?,
                (_, Some(scale)) => micro("scale", scale)?,
                _ => 0,
            },
            expiry: ns,
            lot_e9: decimal(&self.lot, 9).map_err(|e| fail("lot", &e))?,
            tick_micro,
            order_lots_max: self.order_lots_max,
            position_lots_max: self.position_lots_max,
            base_ticks: ticks(low)?,
            width_ticks: ticks(high)?.saturating_sub(ticks(low)?).saturating_add(1),
            collar_ppm: self.collar_ppm,
            tick2_from_ticks,
            tick2_multiple,
            instrument: self.id,
            kind: self.kind as u8,
            vol_slot: self.vol_slot,
            state: self.state as u8,
            symbol,
            ..InInstrument::zeroed()
        };
        spec(&listing)
            .validate()
            .map_err(|e| format!("{name}: {e}"))?;
        Ok(listing)
    }
}

/// What a listing record says, as the pricing side reads it.
///
/// # Panics
/// When the record's kind is not one of this release.
#[must_use]
pub fn spec(l: &InInstrument) -> InstrumentSpec {
    let terms = OptionTerms {
        strike_micro: l.strike_micro,
        expiry: TimeNs(l.expiry),
    };
    let everlasting = EverlastingTerms {
        strike_micro: l.strike_micro,
        period_ns: l.expiry,
    };
    InstrumentSpec {
        id: InstrumentId(l.instrument),
        kind: match l.kind {
            KIND_PERPETUAL => InstrumentKind::Perpetual,
            KIND_CALL => InstrumentKind::Call(terms),
            KIND_PUT => InstrumentKind::Put(terms),
            KIND_FUTURE => InstrumentKind::Future {
                expiry: TimeNs(l.expiry),
            },
            KIND_EVERLASTING_CALL => InstrumentKind::EverlastingCall(everlasting),
            KIND_EVERLASTING_PUT => InstrumentKind::EverlastingPut(everlasting),
            KIND_POWER => InstrumentKind::Squared {
                scale_micro: l.strike_micro,
            },
            other => panic!("instrument {}: kind {other} is unknown", l.instrument),
        },
        lot_e9: l.lot_e9,
        tick_micro: l.tick_micro,
        collar: Collar::PpmOfIndex(l.collar_ppm),
        book_base_ticks: l.base_ticks,
        book_width_ticks: l.width_ticks,
        order_lots_max: l.order_lots_max,
        position_lots_max: l.position_lots_max,
    }
}

/// A decimal such as `100000.5` to an integer of `digits` decimals, exactly.
fn decimal(text: &str, digits: usize) -> Result<i64, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) {
        return Err(format!("'{text}' is not a decimal number"));
    }
    if part.len() > digits {
        return Err(format!("'{text}' has more than {digits} decimals"));
    }
    format!("{whole}{part:0<digits$}")
        .parse()
        .map_err(|_| format!("'{text}' is too large"))
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn decimals_are_exact_or_refused() {
        assert_eq!(decimal("100000.5", 6), Ok(100_000_500_000));
        assert_eq!(decimal("0.000001", 6), Ok(1));
        for bad in ["", "-1", "1e3", "0.0000001", ".5", "99999999999999999999"] {
            assert!(decimal(bad, 6).is_err(), "{bad}");
        }
    }
}
