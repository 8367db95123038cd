//! The kernel mirror in a network namespace: it follows routes, addresses and devices, and has
//! neighbours resolved and kept.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::net::IpAddr;
use std::sync::Arc;

use common::{Lab, eventually, inside, is_root};
use dataplane::host::kernel::{KernelView, Mirror, Netlink, PortDevices, Route};
use sa_table::Segments;
use sa_table::routes::{REVERSE_ROUTE_PROTOCOL, fingerprint};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Runs the mirror beside `body` inside the gateway's network namespace.
fn mirrored(lab: &Lab, body: impl FnOnce(&KernelView) + Send) {
    mirrored_ports(lab, |view, _| body(view));
}

fn mirrored_ports(lab: &Lab, body: impl FnOnce(&KernelView, &PortDevices) + Send) {
    let (view, ports) = (Arc::new(KernelView::default()), Arc::new(PortDevices::default()));
    let ifindex = |name: &str| Netlink::open().unwrap().device(name).unwrap().unwrap().ifindex;
    ports.set(inside(&lab.gateway, || vec![(0, ifindex("in0")), (1, ifindex("out0"))]));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::scope(|scope| {
        let mirror = scope.spawn(|| {
            inside(&lab.gateway, || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let mirror = Mirror::open(Arc::clone(&view), Arc::clone(&ports)).unwrap();
                    tokio::select! {
                        ended = mirror.run() => ended.unwrap(),
                        _ = stopped => {}
                    }
                });
            });
        });
        // Dropped when `body` panics, which ends the mirror and lets the scope end.
        let _stop = stop;
        body(&view, &ports);
        drop(_stop);
        mirror.join().unwrap();
    });
}

#[test]
fn routes_addresses_and_devices_are_followed() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let via = |next_hop: &str| Route::Via { port: 1, next_hop: ip(next_hop) };
    mirrored(&lab, |view| {
        let route = |destination: &str| view.load().lookup_route(ip(destination));
        eventually("the first picture", || route("10.2.0.1") == via("192.0.2.2"));
        assert_eq!(route("10.1.0.77"), Route::OnLink { port: 0 });
        assert_eq!(route("10.1.0.1"), Route::Local);
        assert_eq!(route("10.1.0.255"), Route::ToKernel, "broadcast");
        assert_eq!(route("224.0.0.5"), Route::ToKernel);
        assert_eq!(route("203.0.113.1"), Route::None);
        assert_eq!(view.load().addresses(1).find(IpAddr::is_ipv4), Some(ip("192.0.2.1")));
        let (mac, mtu) = view.load().port(0).map(|link| (link.mac, link.mtu)).unwrap();
        assert!(mac != [0; 6] && mtu == 1500);

        let before = view.load().generation();
        lab.gateway.route("203.0.113.0/24", "192.0.2.9").unwrap();
        eventually("a new route", || route("203.0.113.1") == via("192.0.2.9"));
        assert!(view.load().generation() > before, "flow caches have to notice");
        lab.gateway.ip(&["route", "add", "203.0.113.0/24", "via", "192.0.2.8", "metric", "5"]).unwrap();
        assert_eq!(route("203.0.113.1"), via("192.0.2.9"), "the lower metric stays");
        lab.gateway.ip(&["route", "del", "203.0.113.0/24", "via", "192.0.2.9"]).unwrap();
        eventually("the next best route", || route("203.0.113.1") == via("192.0.2.8"));
        lab.gateway.ip(&["route", "add", "blackhole", "203.0.113.7/32"]).unwrap();
        eventually("a blackhole", || route("203.0.113.7") == Route::Unreachable);
        lab.gateway.ip(&["route", "add", "203.0.113.8/32", "dev", "lo"]).unwrap();
        eventually("a device that is no port", || route("203.0.113.8") == Route::ToKernel);
        lab.gateway
            .ip(&[
                "route",
                "add",
                "198.51.100.0/24",
                "nexthop",
                "via",
                "192.0.2.2",
                "nexthop",
                "via",
                "10.1.0.2",
            ])
            .unwrap();
        eventually("a multipath route", || route("198.51.100.1") == via("192.0.2.2"));

        lab.gateway.ip(&["address", "add", "2001:db8::1/64", "dev", "out0", "nodad"]).unwrap();
        eventually("an IPv6 address", || route("2001:db8::1") == Route::Local);
        assert_eq!(route("2001:db8::2"), Route::OnLink { port: 1 });
        lab.gateway.ip(&["route", "add", "2001:db8:2::/48", "via", "2001:db8::9"]).unwrap();
        eventually("an IPv6 route", || route("2001:db8:2::5") == via("2001:db8::9"));

        lab.gateway.ip(&["link", "delete", "in0"]).unwrap();
        eventually("the device to go", || view.load().port(0).is_none());
        assert_eq!(route("10.1.0.77"), Route::None);
    });
}

/// The data plane must have read the routes of the control plane before that reports "ready".
#[test]
fn a_kernel_change_of_the_control_plane_is_reported_once_it_is_forwarded_by() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let segments = Segments::in_memory().unwrap();
    let (runtime, reader) = (segments.runtime_writer().unwrap(), segments.runtime_reader().unwrap());
    mirrored_ports(&lab, |view, ports| {
        view.report_to(runtime.clone());
        eventually("the first picture", || view.load().port(1).is_some());
        assert_eq!(reader.kernel_changes(), 0);
        for change in 1..20 {
            let network = format!("203.0.113.{change}");
            lab.gateway.route(&format!("{network}/32"), "192.0.2.9").unwrap();
            ports.read_change(change);
            eventually("the report", || reader.kernel_changes() == change);
            assert_ne!(view.load().lookup_route(ip(&network)), Route::None, "change {change}");
        }
    });
}

/// The control plane answers the peer only when the routes of the tunnel are in use.
#[test]
fn the_control_plane_is_told_of_reverse_routes_once_they_are_forwarded_by() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let segments = Segments::in_memory().unwrap();
    let (runtime, reader) = (segments.runtime_writer().unwrap(), segments.runtime_reader().unwrap());
    mirrored(&lab, |view| {
        let told =
            |destinations: &[(IpAddr, u8)]| reader.reverse_routes() == fingerprint(destinations.to_vec());
        let forwarded = || view.load().lookup_route(ip("203.0.113.1")) != Route::None;
        let protocol = REVERSE_ROUTE_PROTOCOL.to_string();
        let reverse = ["203.0.113.0/24", "via", "192.0.2.9", "protocol", &protocol];
        lab.gateway.ip(&[&["route", "add"], &reverse[..]].concat()).unwrap();
        eventually("a reverse route before the workers start", forwarded);
        assert!(told(&[]), "nobody said yet where to tell it");
        view.report_to(runtime.clone());
        eventually("what was known then", || told(&[(ip("203.0.113.0"), 24)]));
        lab.gateway.route("198.51.100.0/24", "192.0.2.9").unwrap();
        lab.gateway.ip(&["route", "add", "default", "via", "192.0.2.9", "protocol", &protocol]).unwrap();
        eventually("two", || told(&[(ip("203.0.113.0"), 24), (ip("0.0.0.0"), 0)]));
        lab.gateway.ip(&[&["route", "del"], &reverse[..]].concat()).unwrap();
        eventually("one", || told(&[(ip("0.0.0.0"), 0)]));
    });
}

#[test]
fn neighbours_are_resolved_on_request_and_kept_while_used() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    // A very short reachable time, so that the refresh has something to do.
    for setting in ["base_reachable_time_ms", "retrans_time_ms"] {
        lab.gateway.sysctl(&format!("net/ipv4/neigh/out0/{setting}"), "500").unwrap();
    }
    lab.gateway.sysctl("net/ipv4/neigh/out0/delay_first_probe_time", "1").unwrap();
    let peer_mac: Vec<u8> = {
        let link = lab.outside.ip(&["-br", "link", "show", "eth0"]).unwrap();
        let text = link.split_whitespace().nth(2).unwrap().to_owned();
        text.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect()
    };
    mirrored(&lab, |view| {
        eventually("the first picture", || view.load().port(1).is_some());
        assert_eq!(view.load().neighbour(1, ip("192.0.2.2")), None);
        view.resolve(1, ip("192.0.2.2"));
        eventually("the neighbour", || view.load().neighbour(1, ip("192.0.2.2")).is_some());
        assert_eq!(view.load().neighbour(1, ip("192.0.2.2")).unwrap().to_vec(), peer_mac);
        view.resolve(1, ip("192.0.2.66"));
        // The peer changes its hardware address; only the refresh makes the kernel resolve it
        // again.
        lab.outside.ip(&["link", "set", "eth0", "address", "02:00:00:00:00:99"]).unwrap();
        eventually("the new hardware address", || {
            view.load().neighbour(1, ip("192.0.2.2")) == Some([2, 0, 0, 0, 0, 0x99])
        });
        assert_eq!(view.load().neighbour(1, ip("192.0.2.66")), None, "nobody has that address");
        lab.gateway.ip(&["neigh", "del", "192.0.2.2", "dev", "out0"]).unwrap();
        eventually("the neighbour to go", || view.load().neighbour(1, ip("192.0.2.2")).is_none());
    });
}
