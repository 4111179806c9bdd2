//! Uploads from a form: each file goes on as it comes, piece by piece.

use axum::body::Body;
use axum::extract::multipart::Field;
use axum::extract::{FromRequest, Multipart, Path, Request, State};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use super::{Visitor, WebResult, context_of, same_site, to_folder};
use crate::app::App;
use crate::auth::rights::WriteContent;
use crate::error_code::{ErrorCode, Failure};
use crate::ports::{BodyError, ByteStream};
use crate::rest::body::streamed;
use crate::service::content::PutRequest;
use crate::service::user_path::UserPath;

/// Pieces that wait between the form and the write.
const PIECES_WAITING: usize = 2;
/// Files of one form.
const FILES: usize = 1_000;

/// Puts the files of a form into a folder. The proof comes before the first file.
pub(super) async fn upload(State(app): State<App>, Path(path): Path<String>, request: Request) -> WebResult {
    let context = context_of(&request)?;
    let visitor = Visitor::of(&app, request.headers(), &context).await?;
    same_site::check(request.headers())?;
    let folder: UserPath = path.parse()?;
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, Body::from_stream(streamed(body)));
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| bad(&error.body_text()))?;
    let mut proven = false;
    let mut stored = 0;
    while let Some(field) = form.next_field().await.map_err(|error| bad(&error.body_text()))? {
        match field.name() {
            Some("proof") => {
                visitor.check(&field.text().await.map_err(|error| bad(&error.body_text()))?)?;
                proven = true;
            }
            Some("file") if proven && stored < FILES => {
                // A form whose file was left empty sends one without a name.
                let Some(name) = field.file_name().map(file_name).filter(|name| !name.is_empty()) else { continue };
                store(&visitor, &folder.child(&name)?, field).await?;
                stored += 1;
            }
            Some("file") if proven => {
                return Err(Failure::new(ErrorCode::TooLarge, format!("one form carries at most {FILES} files")).into());
            }
            _ => return Err(bad("the form has a field that is not known here, or its proof does not come first").into()),
        }
    }
    Ok(to_folder(&folder))
}

/// The name without the folders that some browsers send with it.
fn file_name(sent: &str) -> String {
    sent.rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
}

/// Stores one file. The field can only be read while the form is held, so it is pumped beside the write.
async fn store(visitor: &Visitor, path: &UserPath, field: Field<'_>) -> Result<(), Failure> {
    let caller = &visitor.caller;
    let proof = caller.at::<WriteContent>(path)?;
    let media_type = field.content_type().filter(|kind| *kind != "application/octet-stream").unwrap_or_default().to_owned();
    let request = PutRequest { media_type, ..PutRequest::default() };
    let (sender, mut receiver) = mpsc::channel::<Result<Bytes, BodyError>>(PIECES_WAITING);
    let body: ByteStream = Box::pin(stream::poll_fn(move |context| receiver.poll_recv(context)));
    let context = caller.context().continued();
    let writing = caller.service().put_file(proof, request, body, &context);
    let (put, ()) = tokio::join!(writing, pump(field, sender));
    put.map(|_put| ())
}

/// Passes the pieces of a field on, until its end or until nobody takes them.
async fn pump(mut field: Field<'_>, sender: mpsc::Sender<Result<Bytes, BodyError>>) {
    loop {
        let (piece, last) = match field.chunk().await {
            Ok(Some(piece)) => (Ok(piece), false),
            Ok(None) => return,
            Err(error) => (Err(BodyError::Broken(error.body_text())), true),
        };
        if sender.send(piece).await.is_err() || last {
            return;
        }
    }
}

fn bad(why: &str) -> Failure {
    Failure::new(ErrorCode::BadRequest, why)
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn folders_sent_with_a_name_are_left_out() {
        assert_eq!(file_name("C:\\Users\\a\\plan.pdf"), "plan.pdf");
        assert_eq!(file_name("dir/plan.pdf"), "plan.pdf");
        assert_eq!(file_name("plan.pdf"), "plan.pdf");
        assert_eq!(file_name(""), "");
    }
}
