//! What each member asked and was told, as far as the gateway holds it.

use crate::machine::logs::{Log, REPORTS, ReportLog};
use crate::tiles::core::Core;
use firmware::session::Inbound;
use firmware::units::MemberId;
use matcher::planted::{self, Bug};

/// One member's two flows.
#[derive(Debug)]
pub struct Flow {
    /// Which request number comes next.
    pub inbound: Inbound,
    /// What it was told.
    pub reports: ReportLog,
}

/// The flows of all members; their memory is taken at once.
#[derive(Debug)]
pub struct Flows(Vec<Option<Flow>>);

impl Flows {
    /// The flows go on where the core's numbers end; what was told before is in the spool.
    #[must_use]
    pub fn after(core: &Core) -> Self {
        let members = core.members.iter().map(|m| {
            m.as_ref().map(|m| Flow {
                inbound: if planted::is(Bug::ForgetsRequests) {
                    Inbound::default()
                } else {
                    Inbound::resume(m.next_request)
                },
                reports: Log::new(REPORTS, m.next_report),
            })
        });
        Self(members.collect())
    }

    /// A member's flow.
    #[must_use]
    pub fn get(&self, member: MemberId) -> Option<&Flow> {
        self.0.get(member.0 as usize)?.as_ref()
    }

    /// A member's flow.
    pub fn get_mut(&mut self, member: MemberId) -> Option<&mut Flow> {
        self.0.get_mut(member.0 as usize)?.as_mut()
    }
}
