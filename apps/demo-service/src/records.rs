//! The records a tier keeps: in PostgreSQL where it has one, otherwise in memory.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::sync::Mutex as AsyncMutex;
use tokio_postgres::{Client, NoTls};

/// How long a database may take to accept a connection or answer a statement.
const DEADLINE: Duration = Duration::from_secs(5);

/// Records kept in memory are bounded; the oldest go first.
const MOST_IN_MEMORY: usize = 1_000;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS records (id BIGSERIAL PRIMARY KEY, text TEXT NOT NULL)";

/// Where the records are.
pub(crate) enum Records {
    Memory(Mutex<Vec<String>>),
    /// The connection is made when it is first needed and again after it broke.
    Postgres {
        url: String,
        client: AsyncMutex<Option<Client>>,
    },
}

impl Records {
    pub(crate) fn new(database: Option<String>) -> Self {
        match database {
            Some(url) => Self::Postgres { url, client: AsyncMutex::new(None) },
            None => Self::Memory(Mutex::default()),
        }
    }

    /// The newest records, at most a hundred, newest first.
    pub(crate) async fn list(&self) -> Result<Value> {
        match self {
            Self::Memory(records) => {
                let records = records.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(records.iter().rev().take(100).map(|text| json!({"text": text})).collect())
            }
            Self::Postgres { .. } => {
                let rows = self.query("SELECT id, text FROM records ORDER BY id DESC LIMIT 100", &[]).await?;
                Ok(rows
                    .iter()
                    .map(|row| json!({"id": row.get::<_, i64>(0), "text": row.get::<_, String>(1)}))
                    .collect())
            }
        }
    }

    pub(crate) async fn add(&self, text: &str) -> Result<Value> {
        match self {
            Self::Memory(records) => {
                let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
                if records.len() == MOST_IN_MEMORY {
                    records.remove(0);
                }
                records.push(text.to_owned());
                Ok(json!({"text": text}))
            }
            Self::Postgres { .. } => {
                let rows =
                    self.query("INSERT INTO records (text) VALUES ($1) RETURNING id", &[&text]).await?;
                let id: i64 = rows.first().context("the database returned no id")?.get(0);
                Ok(json!({"id": id, "text": text}))
            }
        }
    }

    async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>> {
        let Self::Postgres { url, client } = self else { return Ok(Vec::new()) };
        let mut client = client.lock().await;
        if client.as_ref().is_none_or(Client::is_closed) {
            *client = Some(connect(url).await?);
        }
        let connected = client.as_ref().expect("connected above");
        tokio::time::timeout(DEADLINE, connected.query(statement, parameters))
            .await
            .context("the database did not answer in 5 s")?
            .context("query the database")
    }
}

/// Connects and makes sure that the table is there. The URL holds a password, so no error shows it.
async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio::time::timeout(DEADLINE, tokio_postgres::connect(url, NoTls))
        .await
        .context("the database accepted no connection in 5 s")?
        .context("connect to the database")?;
    // The connection ends with its client, or breaks; the next query notices either.
    tokio::spawn(connection);
    client.batch_execute(CREATE).await.context("create the table of records")?;
    Ok(client)
}
