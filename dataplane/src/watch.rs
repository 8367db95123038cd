//! Devices that appear while no data plane runs get the guard, too: before the gateway's start, after its end, and while it is down.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use rtnetlink::MulticastGroup;
use tokio::time::{interval, sleep};

use crate::closing::GuardedDevices;
use crate::failure::Failure;
use crate::instance::{Instance, InstanceError};
use crate::kernel::{Netlink, NetlinkError};
use crate::xdp::Programs;

/// How often the guard of every device is looked after when the kernel has no news: somebody may have taken it off.
const LOOK: Duration = Duration::from_secs(1);
/// News come in bursts.
const BURST: Duration = Duration::from_millis(1);

/// Attaches the guard to each device that appears in the calling thread's network namespace, and again where it was taken off, whenever no data
/// plane runs, which does the same. Ends only with an error. After `tohub release` it waits until something is loaded again.
///
/// # Errors
/// The kernel's news do not come.
pub fn watch(run_dir: &Path, name: Option<&str>) -> Result<std::convert::Infallible, Failure> {
    let instance = Instance::of(run_dir, name)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NetlinkError::Open)?;
    let netlink = Netlink::open()?;
    let (connection, _handle, mut news) = {
        let _entered = runtime.enter();
        rtnetlink::new_multicast_connection(&[MulticastGroup::Link]).map_err(NetlinkError::Open)?
    };
    runtime.spawn(connection);
    let mut watcher = Watcher { instance, netlink, loaded: None };
    loop {
        runtime.block_on(async {
            let mut look = interval(LOOK);
            look.tick().await;
            tokio::select! {
                message = news.next() => message.map(drop).ok_or_else(lost),
                _ = look.tick() => Ok(()),
            }?;
            sleep(BURST).await;
            while news.next().now_or_never().is_some_and(|message| message.is_some()) {}
            Ok::<(), Failure>(())
        })?;
        if let Err(error) = watcher.look() {
            tracing::error!(%error, "devices that appeared may be unguarded; trying again");
        }
    }
}

fn lost() -> Failure {
    NetlinkError::Open(std::io::Error::other("the netlink socket was closed")).into()
}

struct Watcher {
    instance: Instance,
    netlink: Netlink,
    /// The programs, the devices that have them, and which pin folder they were loaded for.
    loaded: Option<(Programs, GuardedDevices, u64)>,
}

impl Watcher {
    fn look(&mut self) -> Result<(), Failure> {
        let _lock = match self.instance.try_lock() {
            Ok(lock) => lock,
            // The data plane guards.
            Err(InstanceError::Running { .. }) => {
                self.loaded = None;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let Some(folder) = fs::metadata(Programs::pins_of(self.instance.name())).ok().map(|data| data.ino()) else {
            // Released: nothing is protected.
            self.loaded = None;
            return Ok(());
        };
        let mut loaded = match self.loaded.take().filter(|(_, _, of)| *of == folder) {
            Some(loaded) => loaded,
            None => (Programs::load(self.instance.name())?, GuardedDevices::default(), folder),
        };
        let (programs, guarded, _) = &mut loaded;
        if programs.has_policy() {
            guarded.verify(programs);
            guarded.extend(programs, &self.netlink.devices()?, None);
        }
        self.loaded = Some(loaded);
        Ok(())
    }
}
