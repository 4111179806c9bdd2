//! Asks a node on loopback whether it is ready: one plain HTTP request, no client library.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Whether `/readyz` answers 200; else why not.
pub(super) async fn ready(port: u16) -> Result<(), String> {
    let asked = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(format!("port {port} does not answer: {error}")),
        Err(_elapsed) => return Err(format!("port {port} does not answer within {TIMEOUT:?}")),
    };
    let text = String::from_utf8_lossy(&answer);
    if text.lines().next().and_then(|line| line.split(' ').nth(1)) == Some("200") {
        return Ok(());
    }
    Err(text.lines().last().unwrap_or("an empty answer").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answering(answer: &'static str) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _address) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _length = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        port
    }

    #[tokio::test]
    async fn only_200_is_ready() {
        assert_eq!(ready(answering("HTTP/1.1 200 OK\r\n\r\n{}").await).await, Ok(()));
        let why = ready(answering("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"reasons\":[\"starting\"]}").await).await.unwrap_err();
        assert!(why.contains("starting"));
        assert!(ready(answering("").await).await.is_err());
    }
}
