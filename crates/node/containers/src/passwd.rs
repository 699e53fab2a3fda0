//! Users and groups as an image's own files define them.

use crate::User;

/// Numbers for a process, looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary, sorted, each once.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Resolves a user against the texts of `/etc/passwd` and `/etc/group`, with Docker's rules: a number needs no entry, a
/// name does; groups of the user count only when no group is named.
pub(crate) fn resolve(user: &User, passwd: &str, group: &str) -> Result<Identity, String> {
    let (user_part, group_part) = match user.name.split_once(':') {
        Some((user_part, group_part)) => (user_part, Some(group_part)),
        None => (user.name.as_str(), None),
    };
    let entry = passwd.lines().filter_map(Passwd::parse).find(|entry| match user_part.parse::<u32>() {
        Ok(uid) => entry.uid == uid,
        Err(_) => entry.name == if user_part.is_empty() { "root" } else { user_part },
    });
    let uid = match (&entry, user_part.parse::<u32>()) {
        (Some(entry), _) => entry.uid,
        (None, Ok(uid)) => uid,
        (None, Err(_)) if user_part.is_empty() => 0,
        (None, Err(_)) => {
            return Err(format!("unable to find user {user_part}: no matching entries in passwd file"));
        }
    };
    let groups_of = |name: &str| -> Vec<u32> {
        let entries = group.lines().filter_map(Group::parse);
        entries.filter(|entry| entry.members.split(',').any(|member| member == name)).map(|g| g.gid).collect()
    };
    let mut groups = user.additional_groups.clone();
    let gid = match (user.group, group_part) {
        (Some(gid), _) => gid,
        (None, Some(wanted)) if !wanted.is_empty() => resolve_group(wanted, group)?,
        _ => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    if let (Some(entry), None) = (&entry, group_part) {
        groups.extend(groups_of(entry.name));
    }
    groups.sort_unstable();
    groups.dedup();
    let home = entry.map(|entry| entry.home).filter(|home| !home.is_empty()).unwrap_or("/");
    Ok(Identity { uid, gid, groups, home: home.to_owned() })
}

fn resolve_group(wanted: &str, group: &str) -> Result<u32, String> {
    let number = wanted.parse::<u32>();
    let entry = group.lines().filter_map(Group::parse).find(|entry| match number {
        Ok(gid) => entry.gid == gid,
        Err(_) => entry.name == wanted,
    });
    match (entry, number) {
        (Some(entry), _) => Ok(entry.gid),
        (None, Ok(gid)) => Ok(gid),
        (None, Err(_)) => Err(format!("unable to find group {wanted}: no matching entries in group file")),
    }
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Passwd<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    }
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Group<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Self { name, gid, members: fields.next().unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nredis:x:999:1000:redis:/data:/bin/false\n# comment\nbroken:x\n";
    const GROUP: &str = "root:x:0:\nredis:x:1000:\ntls:x:50:redis,other\n";

    #[track_caller]
    fn check(name: &str, uid: u32, gid: u32, groups: &[u32], home: &str) {
        let user = User { name: name.to_owned(), ..User::default() };
        let expected = Identity { uid, gid, groups: groups.to_vec(), home: home.to_owned() };
        assert_eq!(resolve(&user, PASSWD, GROUP), Ok(expected));
    }

    #[test]
    fn names_and_numbers() {
        check("", 0, 0, &[], "/root");
        check("redis", 999, 1000, &[50], "/data");
        check("999", 999, 1000, &[50], "/data");
        check("redis:tls", 999, 50, &[], "/data");
        check("redis:7", 999, 7, &[], "/data");
        check("12345", 12345, 0, &[], "/");
        check("12345:6", 12345, 6, &[], "/");
    }

    #[test]
    fn the_pod_has_the_last_word_on_groups() {
        let user = User { name: "redis".to_owned(), group: Some(3), additional_groups: vec![9, 50] };
        let identity = resolve(&user, PASSWD, GROUP).unwrap();
        assert_eq!((identity.gid, identity.groups), (3, vec![9, 50]));
    }

    #[test]
    fn unknown_names_are_errors() {
        let user = |name: &str| User { name: name.to_owned(), ..User::default() };
        assert!(resolve(&user("nobody"), PASSWD, GROUP).unwrap_err().contains("unable to find user nobody"));
        assert!(resolve(&user("redis:x"), PASSWD, GROUP).unwrap_err().contains("unable to find group x"));
        assert_eq!(resolve(&user(""), "", "").unwrap().uid, 0);
    }
}
