//! Attaches the guard to new devices at once: in a separate thread of the data plane, independent
//! of its main thread, or in the watching boot guard while no data plane runs.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use rtnetlink::MulticastGroup;
use tokio::time::sleep;

use crate::failure::Failure;
use crate::host::kernel::{Netlink, NetlinkError};
use crate::process::guarded::{Guard, SharedGuard, locked};
use crate::process::instance::{Instance, InstanceError};
use crate::xdp::Programs;

/// Interval at which devices are checked without kernel notifications: the guard may have been
/// detached.
const LOOK: Duration = Duration::from_secs(1);

/// Attaches the guard to each device that appears in the calling thread's network namespace, and
/// again where it was detached, while no data plane runs (a running one does the same). Ends only
/// with an error. After `tohub release` it waits until something is loaded again.
///
/// # Errors
/// The subscription to kernel notifications failed.
pub fn watch(run_dir: &Path, name: Option<&str>) -> Result<Infallible, Failure> {
    let instance = Instance::of(run_dir, name)?;
    let mut watcher = Watcher { instance, netlink: Netlink::open()?, loaded: None };
    Ok(on_link_news(|| {
        if let Err(error) = watcher.look() {
            tracing::error!(%error, "devices that appeared may be unguarded; trying again");
        }
    })?)
}

/// Starts the thread of the data plane that extends `guard` to devices that appear.
///
/// # Errors
/// No thread, or no netlink socket.
pub(crate) fn start(guard: &SharedGuard) -> Result<(), Failure> {
    let guard = Arc::clone(guard);
    let netlink = Netlink::open()?;
    let look = move || match netlink.devices() {
        Ok(devices) => locked(&guard).extend(&devices),
        Err(error) => tracing::error!(%error, "devices that appeared may be unguarded; trying again"),
    };
    let follow = || {
        let Err(error) = on_link_news(look);
        tracing::error!(%error, "devices that appear are guarded by the main thread alone");
    };
    std::thread::Builder::new()
        .name("guard".to_owned())
        .spawn(follow)
        .map(drop)
        .map_err(Failure::system("start the thread that guards new devices"))
}

/// Calls `look` at once, for each burst of link notifications, and every [`LOOK`].
fn on_link_news(mut look: impl FnMut()) -> Result<Infallible, NetlinkError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NetlinkError::Open)?;
    let (connection, _handle, mut news) = {
        let _entered = runtime.enter();
        rtnetlink::new_multicast_connection(&[MulticastGroup::Link]).map_err(NetlinkError::Open)?
    };
    runtime.spawn(connection);
    loop {
        look();
        let goes_on = runtime.block_on(async {
            let goes_on = tokio::select! {
                message = news.next() => message.is_some(),
                () = sleep(LOOK) => true,
            };
            while news.next().now_or_never().flatten().is_some() {}
            goes_on
        });
        if !goes_on {
            return Err(NetlinkError::Open(std::io::Error::other("the netlink socket was closed")));
        }
    }
}

struct Watcher {
    instance: Instance,
    netlink: Netlink,
    /// The guard, and the number of the pin folder that it was loaded for.
    loaded: Option<(Guard, u64)>,
}

impl Watcher {
    fn look(&mut self) -> Result<(), Failure> {
        let _lock = match self.instance.try_lock() {
            Ok(lock) => lock,
            // A running data plane attaches the guard.
            Err(InstanceError::Running { .. }) => {
                self.loaded = None;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let Ok(folder) = fs::metadata(Programs::pins_of(self.instance.name())) else {
            // Released: nothing is protected.
            self.loaded = None;
            return Ok(());
        };
        let folder = folder.ino();
        let (mut guard, _) = match self.loaded.take().filter(|(_, of)| *of == folder) {
            Some(loaded) => loaded,
            None => (Guard::load(&self.instance, None)?, folder),
        };
        guard.verify();
        guard.extend(&self.netlink.devices()?);
        self.loaded = Some((guard, folder));
        Ok(())
    }
}
