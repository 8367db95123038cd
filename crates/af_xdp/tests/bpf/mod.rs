//! The least eBPF that a test needs: an XDP program of six instructions that redirects every packet
//! to the socket of its queue, loaded with bpf(2) directly.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Where the program runs.
#[derive(Clone, Copy, Debug)]
pub enum AttachMode {
    /// Native, in the driver.
    Native,
    /// Generic, after the driver, on socket buffers.
    Generic,
}

/// An attached program and its XSKMAP; detached when dropped.
pub struct Redirect {
    map: OwnedFd,
    _program: OwnedFd,
    _link: OwnedFd,
}

// include/uapi/linux/bpf.h
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_MAP_TYPE_XSKMAP: u32 = 17;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const BPF_FUNC_REDIRECT_MAP: u32 = 51;
const XDP_PASS: u32 = 2;

#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgramLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
}

#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

impl Redirect {
    pub fn attach(interface: &str, mode: AttachMode) -> Redirect {
        let create = MapCreate { map_type: BPF_MAP_TYPE_XSKMAP, key_size: 4, value_size: 4, max_entries: 64 };
        let map = bpf(BPF_MAP_CREATE, &create);
        let program = load(&map);
        let flags = match mode {
            AttachMode::Generic => 1 << 1,
            AttachMode::Native => 1 << 2,
        };
        let probe =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
                .unwrap();
        let target_ifindex = rustix::net::netdevice::name_to_index(probe, interface).unwrap();
        let create =
            LinkCreate { prog_fd: program.as_raw_fd() as u32, target_ifindex, attach_type: BPF_XDP, flags };
        let link = bpf(BPF_LINK_CREATE, &create);
        Redirect { map, _program: program, _link: link }
    }

    /// Sends the packets of `queue` to `socket`.
    pub fn direct(&self, queue: u32, socket: BorrowedFd<'_>) {
        let value = socket.as_raw_fd() as u32;
        let update = MapUpdate {
            map_fd: self.map.as_raw_fd() as u32,
            _pad: 0,
            key: (&raw const queue).expose_provenance() as u64,
            value: (&raw const value).expose_provenance() as u64,
            flags: 0,
        };
        assert_eq!(call(BPF_MAP_UPDATE_ELEM, &update), 0);
    }
}

/// `return bpf_redirect_map(&map, ctx->rx_queue_index, XDP_PASS)`.
fn load(map: &OwnedFd) -> OwnedFd {
    let instruction = |code: u8, dst: u8, src: u8, offset: i16, imm: u32| {
        u64::from(code)
            | u64::from(src << 4 | dst) << 8
            | u64::from(offset as u16) << 16
            | u64::from(imm) << 32
    };
    let program = [
        // r2 = *(u32 *)(r1 + offsetof(struct xdp_md, rx_queue_index))
        instruction(0x61, 2, 1, 16, 0),
        // r1 = map (BPF_PSEUDO_MAP_FD), two slots
        instruction(0x18, 1, 1, 0, map.as_raw_fd() as u32),
        0,
        // r3 = XDP_PASS
        instruction(0xb7, 3, 0, 0, XDP_PASS),
        instruction(0x85, 0, 0, 0, BPF_FUNC_REDIRECT_MAP),
        // exit
        instruction(0x95, 0, 0, 0, 0),
    ];
    let license = c"GPL";
    let load = ProgramLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr().expose_provenance() as u64,
        license: license.as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
    };
    bpf(BPF_PROG_LOAD, &load)
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> OwnedFd {
    let mut fd = call(command, attributes);
    // The kernel detaches the program of a closed link asynchronously.
    for _ in 0..100 {
        if fd >= 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EBUSY) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        fd = call(command, attributes);
    }
    assert!(fd >= 0, "bpf command {command}: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel just returned this descriptor and no other owner exists.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

fn call<T>(command: libc::c_int, attributes: &T) -> libc::c_long {
    // SAFETY: the attributes are a live structure of the size given, and every pointer in it is to
    // live memory.
    unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) }
}
