//! Limits failed sign-ins by login and address, in a table of bounded size on each node.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::error_code::{ErrorCode, Failure};
use crate::limits;

/// Who fails: one login from one address, or anybody from it. IPv6 addresses count by their /64.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Login(IpAddr, String),
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    first: Instant,
}

/// Counts failures within a window.
#[derive(Debug, Default)]
pub struct Attempts {
    rows: Mutex<BTreeMap<Row, Failures>>,
}

impl Attempts {
    /// Refuses a try if too many failed before it.
    ///
    /// # Errors
    /// [`ErrorCode::TooManyAttempts`] with the time to wait.
    pub fn admit(&self, login: &str, address: IpAddr, now: Instant) -> Result<(), Failure> {
        let rows = self.rows();
        let checked = [(of_login(login, address), limits::ATTEMPTS_PER_LOGIN), (of_address(address), limits::ATTEMPTS_PER_ADDRESS)];
        for (row, most) in checked {
            let Some(failures) = rows.get(&row) else { continue };
            let left = (failures.first + limits::ATTEMPT_WINDOW).saturating_duration_since(now);
            if failures.count >= most && left > Duration::ZERO {
                return Err(
                    Failure::new(ErrorCode::TooManyAttempts, "too many failed sign-ins; wait before trying again").retry_after(left)
                );
            }
        }
        Ok(())
    }

    /// Counts a failure.
    pub fn failed(&self, login: &str, address: IpAddr, now: Instant) {
        let mut rows = self.rows();
        if rows.len() >= limits::ATTEMPTS_REMEMBERED {
            rows.retain(|_, failures| now < failures.first + limits::ATTEMPT_WINDOW);
        }
        for row in [of_login(login, address), of_address(address)] {
            if rows.len() >= limits::ATTEMPTS_REMEMBERED && !rows.contains_key(&row) {
                // The row with the fewest failures is the least loss.
                if let Some(least) = rows.iter().min_by_key(|(_, failures)| failures.count).map(|(row, _)| row.clone()) {
                    rows.remove(&least);
                }
            }
            let failures = rows.entry(row).or_insert(Failures { count: 0, first: now });
            if now >= failures.first + limits::ATTEMPT_WINDOW {
                *failures = Failures { count: 0, first: now };
            }
            failures.count = failures.count.saturating_add(1);
        }
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<Row, Failures>> {
        self.rows.lock().expect("no holder of this lock panics")
    }

    /// Forgets the failures of a login that signed in.
    pub fn succeeded(&self, login: &str, address: IpAddr) {
        self.rows().remove(&of_login(login, address));
    }
}

fn of_login(login: &str, address: IpAddr) -> Row {
    Row::Login(network(address), login.to_owned())
}

fn of_address(address: IpAddr) -> Row {
    Row::Address(network(address))
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::time::Instant;

    use super::Attempts;
    use crate::limits;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn ten_failures_close_one_login_from_one_address_until_the_window_ends() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let (here, there) = (address("10.0.0.1"), address("10.0.0.2"));
        for _ in 0..limits::ATTEMPTS_PER_LOGIN {
            assert!(attempts.admit("alice", here, now).is_ok());
            attempts.failed("alice", here, now);
        }
        let refused = attempts.admit("alice", here, now).expect_err("closed");
        assert_eq!(refused.retry_after_seconds(), Some(600));
        assert!(attempts.admit("bob", here, now).is_ok());
        assert!(attempts.admit("alice", there, now).is_ok());
        assert!(attempts.admit("alice", here, now + limits::ATTEMPT_WINDOW).is_ok());
    }

    #[test]
    fn an_address_that_tries_many_logins_is_closed_and_counts_by_its_network() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..limits::ATTEMPTS_PER_ADDRESS {
            attempts.failed(&format!("user{number}"), address(&format!("2001:db8::{number:x}")), now);
        }
        assert!(attempts.admit("new", address("2001:db8::ffff"), now).is_err());
        assert!(attempts.admit("new", address("2001:db8:0:1::1"), now).is_ok());
    }

    #[test]
    fn a_success_forgets_failures_of_the_login() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..limits::ATTEMPTS_PER_LOGIN {
            attempts.failed("alice", address("10.0.0.1"), now);
        }
        attempts.succeeded("alice", address("10.0.0.1"));
        assert!(attempts.admit("alice", address("10.0.0.1"), now).is_ok());
    }

    #[test]
    fn the_table_is_bounded() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..30_000_u32 {
            attempts.failed("x", IpAddr::from(number.to_be_bytes()), now);
            if number > 11_000 {
                break;
            }
        }
        assert!(attempts.rows.lock().expect("not poisoned").len() <= limits::ATTEMPTS_REMEMBERED);
    }
}
