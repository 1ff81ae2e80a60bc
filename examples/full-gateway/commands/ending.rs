//! Ending at once all that somebody holds, and saying so when it is over.
//!
//! What is ended is all that was granted up to a moment in whole seconds, and what is granted in that very second too. So the
//! answer waits until that second is over: whoever has read it may sign in again, and what comes of that stays.

use std::time::Duration;

use mcp_oauth_core::clock::{Clock as _, SystemClock};
use mcp_oauth_core::server::operator::EndedGrants;

use super::output::{Output, moment};

/// How often the clock is looked at, and how many times at most: a clock may be set back meanwhile.
const LOOKS: (u32, Duration) = (60, Duration::from_millis(20));

/// Prints what has ended, in the second after it.
pub(super) async fn report(output: Output, grants: EndedGrants) -> anyhow::Result<()> {
    // The tokens end up to a moment that may be later than that of the grants: the present one at most.
    let (ended, (looks, pause)) = (SystemClock.now(), LOOKS);
    for _ in 0..looks {
        if SystemClock.now() > ended {
            break;
        }
        tokio::time::sleep(pause).await;
    }
    output.one(&grants, vec![("ended up to", moment(grants.up_to))])
}
