//! What quotas say ahead of a change, and what they leave. The commit decides; this saves reading a body in vain, and tells people.
//!
//! Invariants: a place without any quota costs no question; what is refused here would be refused by the commit too, if nothing was deleted meanwhile and a
//! datasource with a quota stores the bytes anew.

use skep_placement::ids::PoolId;
use skep_placement::profile::{Code, FailureDomain, Profile};
use skep_raft::system_view::SystemView;
use skep_raft::wire::meta::v1::{DatasourceRecord, FolderSums, GroupTotals, QuotaLimit, StatQuery, TotalsQuery, answer, query};

use super::Service;
use crate::auth::rights::{Action, Authorized, ReadTree};
use crate::error_code::{ErrorCode, Failure};
use crate::request_context::RequestContext;
use crate::service::place::Place;

/// Files are cut into chunks of at most so many bytes.
const CHUNK_LENGTH_BYTES_MAX: u64 = skep_placement::limits::CHUNK_LENGTH_BYTES_MAX as u64;

/// What a write would add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Bytes of the new version; none: not known yet.
    pub(crate) bytes: Option<u64>,
    /// Bytes of the version that it takes the place of.
    pub(crate) replaced: u64,
    /// Entries that come to be.
    pub(crate) entries: u64,
}

/// How much of a quota is used, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What counts against it.
    pub used: u64,
    /// What may still come.
    pub available: u64,
}

/// A datasource with a limit, and how much is stored for a byte of a file.
struct Limited {
    record: DatasourceRecord,
    code: Option<Code>,
}

impl Service {
    /// Refuses what a quota of the place has no room for.
    pub(crate) async fn refuse_over_quota<A: Action>(
        &self,
        proof: &mut Authorized<A, Place>,
        growth: Growth,
        context: &RequestContext,
    ) -> Result<(), Failure> {
        for quota in proof.quotas() {
            let sums = self.sums_of(proof, &quota, context).await?;
            fits(&quota, &sums, growth).map_err(|failure| failure.at(&proof.subject().path().to_string()))?;
        }
        if let Some(limited) = self.limited(proof.subject(), growth.bytes)? {
            let totals = self.totals_of(proof, context).await?;
            limited.fits(&totals, growth).map_err(|failure| failure.at(&proof.subject().path().to_string()))?;
        }
        Ok(())
    }

    /// How much is used, and left, of the quota that is nearest to its end; none where no quota in bytes is set.
    ///
    /// # Errors
    /// [`ErrorCode::Unavailable`].
    pub async fn usage(&self, mut proof: Authorized<ReadTree, Place>, context: &RequestContext) -> Result<Option<Usage>, Failure> {
        let mut usages = Vec::new();
        for quota in proof.quotas().into_iter().filter(|quota| quota.bytes_max != 0) {
            let sums = self.sums_of(&mut proof, &quota, context).await?;
            usages.push(Usage { used: sums.bytes, available: quota.bytes_max.saturating_sub(sums.bytes) });
        }
        if let Some(limited) = self.limited(proof.subject(), None)?.filter(|limited| limited.record.quota_bytes != 0) {
            let totals = self.totals_of(&mut proof, context).await?;
            let left = limited.record.quota_bytes.saturating_sub(totals.stored_bytes);
            usages.push(Usage { used: totals.logical_bytes, available: limited.plain(left) });
        }
        Ok(usages.into_iter().min_by_key(|usage| usage.available))
    }

    async fn sums_of<A: Action>(
        &self,
        proof: &mut Authorized<A, Place>,
        quota: &QuotaLimit,
        context: &RequestContext,
    ) -> Result<FolderSums, Failure> {
        let question = StatQuery { path: quota.root.clone(), ..StatQuery::default() };
        let answer = self.ask(proof, query::What::Stat(question), context).await?;
        match answer.what {
            Some(answer::What::Entry(entry)) => Ok(entry.sums.unwrap_or_default()),
            // A folder that is not there yet holds nothing.
            _ => Ok(FolderSums::default()),
        }
    }

    async fn totals_of<A: Action>(&self, proof: &mut Authorized<A, Place>, context: &RequestContext) -> Result<GroupTotals, Failure> {
        match self.ask(proof, query::What::Totals(TotalsQuery {}), context).await?.what {
            Some(answer::What::Totals(totals)) => Ok(totals),
            _ => Err(Failure::new(ErrorCode::Internal, format!("{}: the metadata answered another question", proof.subject().path()))),
        }
    }

    /// The datasource of a place, if it has a limit. The local copy will do: its group enforces what it was told.
    fn limited(&self, place: &Place, bytes: Option<u64>) -> Result<Option<Limited>, Failure> {
        let view = self.metadata().system_stale();
        let record = view.datasource(place.datasource())?.filter(|record| record.quota_bytes != 0 || record.quota_entries != 0);
        let Some(record) = record else { return Ok(None) };
        let code = code_of(&view, &record, bytes.unwrap_or(u64::MAX))?;
        Ok(Some(Limited { record, code }))
    }
}

/// The code of a chunk of a file so long.
fn code_of(view: &SystemView, record: &DatasourceRecord, bytes: u64) -> Result<Option<Code>, Failure> {
    let profile = view.pool(PoolId(record.pool))?.and_then(|pool| pool.profile);
    let code = profile.and_then(|profile| profile.code).and_then(|code| {
        let (data, parity) = (u8::try_from(code.data).ok()?, u8::try_from(code.parity).ok()?);
        Code::new(data, parity).ok()
    });
    let domain = FailureDomain::default();
    Ok(code.map(|code| Code::for_chunk(Profile { code, domain }, bytes.min(CHUNK_LENGTH_BYTES_MAX))))
}

impl Limited {
    /// Bytes stored for bytes of a file.
    fn stored(&self, bytes: u64) -> u64 {
        self.code.map_or(bytes, |code| scaled(bytes, u64::from(code.total()), u64::from(code.data())))
    }

    /// Bytes of a file for bytes stored.
    fn plain(&self, stored: u64) -> u64 {
        self.code.map_or(stored, |code| scaled(stored, u64::from(code.data()), u64::from(code.total())))
    }

    /// What is stored before stays: an old version is kept by its policy.
    fn fits(&self, totals: &GroupTotals, growth: Growth) -> Result<(), Failure> {
        let adds = growth.bytes.map_or(0, |bytes| self.stored(bytes));
        within("the datasource", "stored bytes", (totals.stored_bytes, adds, 0), self.record.quota_bytes)?;
        within("the datasource", "entries", (totals.entries, growth.entries, 0), self.record.quota_entries)
    }
}

fn scaled(bytes: u64, above: u64, below: u64) -> u64 {
    u64::try_from(u128::from(bytes) * u128::from(above) / u128::from(below.max(1))).unwrap_or(u64::MAX)
}

fn fits(quota: &QuotaLimit, sums: &FolderSums, growth: Growth) -> Result<(), Failure> {
    if let Some(bytes) = growth.bytes {
        within(&quota.name, "bytes", (sums.bytes, bytes, growth.replaced), quota.bytes_max)?;
    }
    within(&quota.name, "entries", (sums.files.saturating_add(sums.folders), growth.entries, 0), quota.entries_max)
}

/// Refuses what grows beyond a limit; 0: there is none.
fn within(whose: &str, what: &str, (used, adds, takes): (u64, u64, u64), most: u64) -> Result<(), Failure> {
    let would_hold = used.saturating_sub(takes).saturating_add(adds);
    if most == 0 || would_hold <= most || would_hold <= used {
        return Ok(());
    }
    let why = format!(
        "the quota is used up ({whose} would hold {would_hold} {what}; its quota is {most}, of which {used} are used); delete something or ask for more"
    );
    Err(Failure::new(ErrorCode::QuotaExceeded, why))
}

#[cfg(test)]
mod tests {
    use skep_placement::profile::Code;
    use skep_raft::wire::meta::v1::{DatasourceRecord, FolderSums, GroupTotals, QuotaLimit};

    use super::{Growth, Limited, fits};
    use crate::error_code::ErrorCode;

    #[test]
    fn what_grows_beyond_a_quota_is_refused_and_what_shrinks_is_not() {
        let quota = QuotaLimit { bytes_max: 100, entries_max: 3, name: "the workspace plans".to_owned(), ..QuotaLimit::default() };
        let sums = FolderSums { bytes: 90, files: 2, folders: 1, ..FolderSums::default() };
        let growth = |bytes, replaced, entries| Growth { bytes: Some(bytes), replaced, entries };
        assert_eq!(fits(&quota, &sums, growth(20, 10, 0)), Ok(()), "exactly full");
        let failure = fits(&quota, &sums, growth(21, 10, 0)).expect_err("refused");
        assert!(failure.code == ErrorCode::QuotaExceeded && failure.detail.contains("plans would hold 101 bytes"), "{failure}");
        assert!(fits(&quota, &sums, growth(1, 0, 1)).expect_err("refused").detail.contains("4 entries"));
        let over = FolderSums { bytes: 500, ..sums };
        assert_eq!(fits(&quota, &over, growth(5, 6, 0)), Ok(()), "what is over already may shrink");
        assert_eq!(fits(&quota, &sums, Growth::default()), Ok(()), "of what is not known nothing is refused");
        assert_eq!(fits(&QuotaLimit::default(), &over, growth(9_000, 0, 9)), Ok(()), "no limit");
    }

    #[test]
    fn a_datasource_counts_what_is_stored() {
        let record = DatasourceRecord { quota_bytes: 1_000, ..DatasourceRecord::default() };
        let limited = Limited { record, code: Code::new(2, 1).ok() };
        let totals = GroupTotals { stored_bytes: 400, ..GroupTotals::default() };
        let growth = |bytes| Growth { bytes: Some(bytes), replaced: 10_000, entries: 1 };
        assert_eq!(limited.fits(&totals, growth(400)), Ok(()));
        assert_eq!(limited.fits(&totals, growth(401)).expect_err("refused").code, ErrorCode::QuotaExceeded);
        assert_eq!(limited.plain(600), 400);
    }
}
