//! Local users, for whom root delivers.
//!
//! Root writes where a user may write, and runs what a user has written. With root's own rights
//! that would let the user do as root what he likes, by way of links and folders of his own. So
//! it happens with the user's rights: a thread of this process can have rights of its own on
//! Linux.

use std::ffi::{CString, OsString};
use std::io;

use nix::unistd::{Group, User, getgrouplist};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use super::DeliverError;

/// Whose files and programs we deal with.
#[derive(Clone, Debug)]
pub(crate) struct LocalUser {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// What the user database says, unless it is ourselves.
    pub(super) other: Option<Account>,
}

/// Another user than we are.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) user: User,
    groups: Vec<u32>,
}

impl LocalUser {
    /// Looks up whom to deliver for: the named user for root, and ourselves for everybody else.
    pub(crate) fn find(name: Option<&str>) -> Result<Self, DeliverError> {
        let (uid, gid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        let ourselves = Self {
            uid,
            gid,
            other: None,
        };
        let Some(name) = name.filter(|_| uid == 0) else {
            return Ok(ourselves);
        };
        let no_such_user = |source: Option<nix::Error>| DeliverError::NoSuchUser {
            name: name.to_owned(),
            source: source.map(io::Error::from),
        };
        let user = User::from_name(name).map_err(|error| no_such_user(Some(error)))?;
        let user = user.ok_or_else(|| no_such_user(None))?;
        if user.uid.is_root() {
            return Ok(ourselves);
        }
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        let c_name = CString::new(name).map_err(|_| no_such_user(None))?;
        let groups = getgrouplist(&c_name, user.gid).map_err(|error| no_such_user(Some(error)))?;
        Ok(Self {
            uid,
            gid,
            other: Some(Account {
                user,
                groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
            }),
        })
    }

    /// Runs something with the rights of this user, in the group he is in or in another one.
    pub(super) fn run_as<T>(
        &self,
        group: Option<u32>,
        run: impl FnOnce() -> T,
    ) -> Result<T, DeliverError> {
        match &self.other {
            None => Ok(run()),
            Some(account) => {
                let _rights =
                    Rights::take(self, account, group.unwrap_or(self.gid)).map_err(|source| {
                        DeliverError::NoRights {
                            name: account.user.name.clone(),
                            source,
                        }
                    })?;
                Ok(run())
            }
        }
    }

    /// An environment, with the user in it in the place of us.
    pub(crate) fn environment(&self, ours: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
        let mut variables = ours.to_vec();
        if let Some(Account { user, .. }) = &self.other {
            let own = [
                ("HOME", user.dir.clone().into_os_string()),
                ("LOGNAME", user.name.clone().into()),
                ("SHELL", user.shell.clone().into_os_string()),
                ("USER", user.name.clone().into()),
            ];
            variables.retain(|(name, _)| !own.iter().any(|(other, _)| name == other));
            variables.retain(|(name, _)| name != "TMPDIR");
            variables.extend(own.map(|(name, value)| (name.into(), value)));
        }
        variables
    }

    /// Starts a program with the rights of this user, and nobody else's.
    pub(crate) fn spawn(
        &self,
        command: std::process::Command,
        runtime: &Handle,
    ) -> io::Result<Child> {
        let mut command = Command::from(command);
        if self.other.is_none() {
            let _runtime = runtime.enter();
            return command.spawn();
        }
        #[cfg(target_os = "linux")]
        {
            // A thread that takes on the user's rights, and is of no use for anything else then.
            let start = || {
                self.become_for_good()?;
                let _runtime = runtime.enter();
                command.spawn()
            };
            std::thread::scope(|scope| match scope.spawn(start).join() {
                Ok(child) => child,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        }
        #[cfg(not(target_os = "linux"))]
        {
            // The standard library drops all further groups.
            command.uid(self.uid).gid(self.gid);
            let _runtime = runtime.enter();
            command.spawn()
        }
    }

    /// Gives this thread the rights of this user for good, for a program that it starts.
    #[cfg(target_os = "linux")]
    fn become_for_good(&self) -> io::Result<()> {
        use rustix::process::{Gid, Uid};
        use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

        let Some(account) = &self.other else {
            return Ok(());
        };
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<_> = account
            .groups
            .iter()
            .map(|gid| Gid::from_raw(*gid))
            .collect();
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        Ok(())
    }
}

/// The group that owns mail where there is one, as Debian Policy §11.6 has it.
pub(super) fn mail_group() -> Option<u32> {
    let group = Group::from_name("mail").ok().flatten()?;
    Some(group.gid.as_raw())
}

/// The rights of another user, which this thread has until it is dropped.
#[cfg(target_os = "linux")]
struct Rights {
    groups: Vec<rustix::process::Gid>,
    gid: rustix::process::Gid,
    uid: rustix::process::Uid,
}

#[cfg(target_os = "linux")]
impl Rights {
    fn take(user: &LocalUser, account: &Account, group: u32) -> io::Result<Self> {
        use rustix::process::{Gid, Uid, getegid, geteuid, getgroups};
        use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

        let before = Self {
            groups: getgroups()?,
            gid: getegid(),
            uid: geteuid(),
        };
        let groups: Vec<_> = account
            .groups
            .iter()
            .map(|gid| Gid::from_raw(*gid))
            .collect();
        // From here on dropping `before` undoes whatever was done.
        set_thread_groups(&groups)?;
        set_thread_res_gid(None, Gid::from_raw(group), None)?;
        set_thread_res_uid(None, Uid::from_raw(user.uid), None)?;
        Ok(before)
    }
}

#[cfg(target_os = "linux")]
impl Drop for Rights {
    fn drop(&mut self) {
        use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

        let restored = set_thread_res_uid(None, self.uid, None)
            .and_then(|()| set_thread_res_gid(None, self.gid, None))
            .and_then(|()| set_thread_groups(&self.groups));
        if restored.is_err() {
            // Nothing may go on in a thread with rights that nobody expects.
            std::process::abort();
        }
    }
}

#[cfg(not(target_os = "linux"))]
struct Rights;

#[cfg(not(target_os = "linux"))]
impl Rights {
    fn take(_user: &LocalUser, _account: &Account, _group: u32) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_root_delivers_for_himself() {
        let found = LocalUser::find(None).unwrap();
        assert!(found.other.is_none());
        assert_eq!(found.uid, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn rights_are_given_back() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let nobody = LocalUser::find(Some("nobody")).unwrap();
        let during = nobody.run_as(None, rustix::process::geteuid).unwrap();
        assert_eq!(during.as_raw(), nobody.uid);
        assert!(rustix::process::geteuid().is_root());
        let denied = nobody
            .run_as(None, || std::fs::read("/etc/shadow"))
            .unwrap();
        assert!(denied.is_err());
    }

    #[test]
    fn an_unknown_user_is_an_error_for_root() {
        if rustix::process::geteuid().is_root() {
            let found = LocalUser::find(Some("no-such-user-here"));
            assert!(matches!(found, Err(DeliverError::NoSuchUser { .. })));
        }
    }
}
