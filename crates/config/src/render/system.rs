//! Host name, users and name resolution at the start; logging and lines at the end.

use super::Writer;
use crate::Configuration;

pub(super) fn head(out: &mut Writer, configuration: &Configuration) {
    let system = &configuration.system;
    out.lines("", &system.service);
    out.section();
    out.line(format_args!("hostname {}", system.hostname));
    out.section();
    if let Some(secret) = &system.enable_secret {
        let secret = out.hashed(secret);
        out.line(format_args!("enable secret {secret}"));
        out.section();
    }
    out.flag(!system.domain_lookup, "no ip domain lookup");
    out.optional("ip domain name ", system.domain_name.as_ref());
    for (name, addresses) in &system.hosts {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        out.line(format_args!("ip host {name} {}", addresses.join(" ")));
    }
    for server in &system.name_servers {
        out.line(format_args!("ip name-server {server}"));
    }
    out.section();
    for (name, user) in &system.users {
        let mut line = format!("username {name}");
        if user.privilege != 1 {
            line += &format!(" privilege {}", user.privilege);
        }
        if let Some(secret) = &user.secret {
            line += &format!(" secret {}", out.hashed(secret));
        }
        out.line(line);
    }
    out.section();
}

pub(super) fn tail(out: &mut Writer, configuration: &Configuration) {
    let system = &configuration.system;
    for host in &system.logging_hosts {
        out.line(format_args!("logging host {host}"));
    }
    out.lines("", &system.kept);
    out.section();
    for (name, line) in &system.lines {
        out.line(format_args!("line {name}"));
        if let Some((minutes, seconds)) = line.exec_timeout {
            out.line(format_args!(" exec-timeout {minutes} {seconds}"));
        }
        out.flag(line.login_local, " login local");
        out.lines(" ", &line.kept);
    }
    out.section();
}
