//! The Solidity side: the committed artifacts must be what the pinned compiler makes of the sources.

use anyhow::Result;

use crate::setup;
use crate::step::Step;

pub(crate) fn check(step: &mut Step<'_>) -> Result<String> {
    let node = setup::l1_tools(step)?;
    let mut command = node.command(step.place);
    step.run(command.args(["proof/l1/build.mjs", "--check"]))?;
    Ok("artifacts are what solc makes of the sources".into())
}
