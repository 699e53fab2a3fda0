use super::*;
use crate::testing::FakeRuntime;

struct Case {
    dir: tempfile::TempDir,
    runtime: Arc<FakeRuntime>,
}

impl Case {
    fn new(files: &[(&str, &str)]) -> Case {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Case { dir, runtime: FakeRuntime::new() }
    }

    fn source(&self) -> Source {
        Source {
            path: self.dir.path().join("0.log"),
            container_id: "c".to_owned(),
            runtime: Arc::clone(&self.runtime) as Arc<dyn Runtime>,
        }
    }

    async fn read(&self, change: impl FnOnce(&mut LogRequest)) -> String {
        let mut request = LogRequest::new("n", "p", "c");
        change(&mut request);
        let stream = open(self.source(), &request).await.unwrap();
        let chunks: Vec<Bytes> = stream.map(|chunk| chunk.unwrap()).collect().await;
        String::from_utf8(chunks.concat()).unwrap()
    }
}

const LOG: &str = "2026-01-01T00:00:01.5Z stdout F one\n2026-01-01T00:00:02Z stderr P tw\n\
                   2026-01-01T00:00:02Z stderr F o\n2026-01-01T00:00:03Z stdout F \n2026-01-01T00:00:04Z stdout F four\n";

#[tokio::test]
async fn whole_log_with_rotated_files_first() {
    let case = Case::new(&[
        ("0.log", LOG),
        ("0.log.1", "2026-01-01T00:00:00Z stdout F zero\n"),
        ("0.log.2", "2025-12-31T00:00:00Z stdout F minus\n"),
    ]);
    assert_eq!(case.read(|_| ()).await, "minus\nzero\none\ntwo\n\nfour\n");
}

#[tokio::test]
async fn options() {
    let case = Case::new(&[("0.log", LOG), ("0.log.1", "2026-01-01T00:00:00Z stdout F zero\n")]);
    assert_eq!(case.read(|request| request.tail_lines = Some(1)).await, "four\n");
    assert_eq!(case.read(|request| request.tail_lines = Some(6)).await, "zero\none\ntwo\n\nfour\n");
    assert_eq!(case.read(|request| request.tail_lines = Some(0)).await, "");
    assert_eq!(case.read(|request| request.limit_bytes = Some(7)).await, "zero\non");
    assert_eq!(
        case.read(|request| request.since = Some("2026-01-01T00:00:03Z".parse().unwrap())).await,
        "\nfour\n"
    );
    let with_times = case.read(|request| (request.timestamps, request.tail_lines) = (true, Some(4))).await;
    assert_eq!(with_times, "2026-01-01T00:00:02Z two\n2026-01-01T00:00:03Z \n2026-01-01T00:00:04Z four\n");
}

#[tokio::test]
async fn a_log_that_is_not_there_is_empty() {
    assert_eq!(Case::new(&[]).read(|_| ()).await, "");
}

#[tokio::test]
async fn following_passes_rotation_and_ends_with_the_container() {
    use std::io::Write as _;
    let case = Case::new(&[("0.log", "2026-01-01T00:00:01Z stdout F one\n")]);
    case.runtime.set_running("c");
    let mut request = LogRequest::new("n", "p", "c");
    request.follow = true;
    let stream = open(case.source(), &request).await.unwrap();
    let mut stream = std::pin::pin!(stream);
    assert_eq!(stream.next().await.unwrap().unwrap(), "one\n");

    let path = case.dir.path().join("0.log");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"2026-01-01T00:00:02Z stdout F two\n").unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "two\n");

    std::fs::rename(&path, case.dir.path().join("0.log.1")).unwrap();
    std::fs::write(&path, "2026-01-01T00:00:03Z stdout F three\n").unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "three\n");

    case.runtime.set_exited("c", 0);
    assert!(stream.next().await.is_none());
}
