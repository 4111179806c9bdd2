//! Listing a folder page by page: a reader that holds its proof and has it decided again while it goes on.

use bytes::Bytes;
use skep_raft::wire::meta::v1::{Entry, EntryKind, EntryPage, ListQuery, answer, query};

use super::Service;
use super::tree::absent_or_fault;
use crate::auth::rights::{Authorized, ReadTree};
use crate::error_code::{ErrorCode, Failure};
use crate::limits;
use crate::request_context::RequestContext;
use crate::service::page_hints::{PageHint, PageKey};
use crate::service::place::Place;

/// What of a folder is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListRequest {
    /// Members to pass over first.
    pub skip: u32,
    /// Members wanted; none: all.
    pub limit: Option<u32>,
    /// Only these; none: files and folders.
    pub kind: Option<EntryKind>,
    /// Also what is noted on the entries by namespaces.
    pub with_meta: bool,
    /// Also count all members.
    pub count_total: bool,
}

/// A folder being read. Each page is asked for when the one before is used up, so that a large folder takes little memory.
#[derive(Debug)]
pub struct FolderReader {
    service: Service,
    proof: Authorized<ReadTree, Place>,
    request: ListRequest,
    context: RequestContext,
    /// The folder itself.
    pub folder: Entry,
    /// Members that match, if counted.
    pub total: u64,
    page: Option<Vec<Entry>>,
    after: String,
    left: Option<u32>,
    more: bool,
}

impl Service {
    /// Opens a folder and reads its first page.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::NotAFolder`], [`ErrorCode::Unavailable`].
    pub async fn open_folder(
        &self,
        proof: Authorized<ReadTree, Place>,
        request: ListRequest,
        context: &RequestContext,
    ) -> Result<FolderReader, Failure> {
        let mut reader = FolderReader {
            service: self.clone(),
            proof,
            request,
            context: context.clone(),
            folder: Entry::default(),
            total: 0,
            page: None,
            after: String::new(),
            left: request.limit,
            more: true,
        };
        let first = reader.first().await?;
        reader.folder = first.folder.unwrap_or_default();
        reader.page = Some(first.entries);
        Ok(reader)
    }
}

impl FolderReader {
    /// The place of the folder.
    #[must_use]
    pub(crate) fn place(&self) -> &Place {
        self.proof.subject()
    }

    /// The next members in byte order of names; none at the end.
    pub(crate) async fn next_page(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        if let Some(page) = self.page.take() {
            return Ok(Some(page));
        }
        if !self.more || self.left == Some(0) {
            return Ok(None);
        }
        self.context = self.context.continued();
        if self.proof.is_old() {
            self.proof.renew_in_place(self.service.metadata(), self.service.now_micros(), self.context.deadline()).await?;
        }
        let page = self.ask(0, false).await?;
        self.remember(&page);
        Ok(Some(page.entries))
    }

    /// The first page: found by where the page before it ended, or the nearest one before it, if that is known and still true; else by passing over what comes before.
    async fn first(&mut self) -> Result<EntryPage, Failure> {
        let request = self.request;
        let key = PageKey::of(self.place(), self.kind(), request.skip.into());
        let is_past = self.place().instant() != 0;
        let service = self.service.clone();
        let hints = service.page_hints();
        let hint = hints.nearest(&key);
        // Of an instant the members need not be counted again.
        let total = hint.as_ref().filter(|(_, hint)| is_past && hint.is_final()).map(|(_, hint)| hint.total);
        let total = total.or_else(|| hints.get(&PageKey::of(self.place(), self.kind(), 0)).map(|hint| hint.total));
        let mut page = None;
        if let Some((offset, hint)) = hint.filter(|(offset, _)| *offset > 0) {
            self.after.clone_from(&hint.after);
            let between = u64::from(request.skip).saturating_sub(offset);
            let found = self.ask(u32::try_from(between).unwrap_or(u32::MAX), request.count_total && total.is_none()).await?;
            if hint.holds_for(&found) {
                page = Some((offset, found));
            } else {
                hints.forget(&key);
                (self.left, self.more) = (request.limit, true);
                self.after.clear();
            }
        }
        let (first, page) = match page {
            Some(found) => found,
            None => (0, self.ask(request.skip, request.count_total && total.is_none()).await?),
        };
        self.total = total.unwrap_or(page.total);
        if request.count_total && self.is_settled(&page) {
            let is_counted = is_past && page.as_now == 0;
            if is_counted {
                let counted = PageHint::counted(&page, self.total);
                hints.put(PageKey::of(self.place(), self.kind(), 0), counted);
            }
            for (offset, marked) in PageHint::marked(&page, if is_counted { 0 } else { first }, self.total) {
                hints.put(PageKey::of(self.place(), self.kind(), offset), marked);
            }
        }
        self.remember(&page);
        Ok(page)
    }

    /// Where the request ends, so that the next one can begin there.
    fn remember(&self, page: &EntryPage) {
        let is_end = self.left == Some(0) && page.more && self.request.count_total && self.is_settled(page);
        let Some(limit) = self.request.limit.filter(|_| is_end) else { return };
        if let Some(next) = PageHint::after(page, self.total) {
            let offset = u64::from(self.request.skip) + u64::from(limit);
            self.service.page_hints().put(PageKey::of(self.place(), self.kind(), offset), next);
        }
    }

    /// Whether what was read of an instant stays true; of what is as it is now, it is true of the state that a hint names.
    fn is_settled(&self, page: &EntryPage) -> bool {
        let at = self.place().instant();
        at == 0 || page.as_now != 0 || page.settled || at.saturating_add(limits::SETTLED_MICROS) < self.service.now_micros()
    }

    fn kind(&self) -> i32 {
        self.request.kind.unwrap_or(EntryKind::Unspecified).into()
    }

    /// All that is left, up to a number of members beyond which it is refused.
    pub(crate) async fn rest(&mut self, most: usize) -> Result<Vec<Entry>, Failure> {
        let mut all = Vec::new();
        while let Some(page) = self.next_page().await? {
            if all.len() + page.len() > most {
                let why = format!("{}: the folder has more than {most} members; ask for pages in the order of names", self.place().path());
                return Err(Failure::new(ErrorCode::TooLarge, why));
            }
            all.extend(page);
        }
        Ok(all)
    }

    async fn ask(&mut self, skip: u32, count_total: bool) -> Result<EntryPage, Failure> {
        let limit = self.left.unwrap_or(limits::PAGE_ENTRIES).min(limits::PAGE_ENTRIES);
        let question = ListQuery {
            path: Some(self.proof.subject().entry()),
            after: self.after.clone(),
            // A page of nothing still has to name the folder.
            limit: limit.max(1),
            with_meta: self.request.with_meta,
            kind: self.kind(),
            skip,
            count_total,
            at: self.proof.subject().instant(),
            user: if self.request.with_meta { self.proof.actor().user } else { Bytes::new() },
        };
        let answer = self.service.ask(&mut self.proof, query::What::List(question), &self.context).await?;
        let mut page = match answer.what {
            Some(answer::What::List(page)) => page,
            Some(answer::What::Absence(absence)) if absence.not_a_folder => {
                let why = format!("{}: this is a file, not a folder", self.proof.subject().path());
                return Err(Failure::new(ErrorCode::NotAFolder, why));
            }
            other => return Err(absent_or_fault(self.proof.subject(), other)),
        };
        if limit == 0 {
            page.entries.clear();
        }
        let got = u32::try_from(page.entries.len()).unwrap_or(u32::MAX);
        self.left = self.left.map(|left| left.saturating_sub(got));
        self.more = page.more && got > 0;
        if let Some(last) = page.entries.last() {
            self.after.clone_from(&last.name);
        }
        Ok(page)
    }
}
