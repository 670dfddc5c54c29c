//! Stack traces and errors of databases: what a program says when it fails, with its files, names and queries. A frame
//! is read backwards and forwards from the part that every frame of the language has.

use std::ops::Range;

use super::{Anchor, LeakClass, Reader};

/// 300 bytes: a longer frame is masked in part, which is enough to be seen.
const FRAME_BYTES_MAX: usize = 300;

/// The parts.
pub(super) fn anchors() -> impl Iterator<Item = Anchor> {
    use LeakClass as Class;
    let table: &[(Class, Reader, &[&'static str])] = &[
        (Class::DotnetTrace, dotnet_frame, &[".cs:line ", ".vb:line ", ".fs:line "]),
        (
            Class::DotnetTrace,
            as_found,
            &[
                "--- End of inner exception stack trace ---",
                "Server Error in '/",
                "[NullReferenceException",
                "System.NullReferenceException:",
            ],
        ),
        (Class::GoTrace, goroutine, &["goroutine "]),
        (Class::GoTrace, as_found, &["panic: runtime error: ", "runtime/debug.Stack("]),
        (Class::JavaTrace, called_frame, &[".java:", ".kt:", ".scala:", ".groovy:"]),
        (
            Class::JavaTrace,
            as_found,
            &["(Native Method)", "(Unknown Source)", "Exception in thread \"", "nested exception is "],
        ),
        (Class::NodeTrace, called_frame, &[".js:", ".mjs:", ".cjs:", ".ts:"]),
        (
            Class::NodeTrace,
            as_found,
            &[
                "(node:internal/",
                "at node:internal/",
                "at process._tickCallback",
                "at processTicksAndRejections",
            ],
        ),
        (Class::PhpTrace, php_frame, &[".php(", ".php:", ".php on line ", ".php</b> on line "]),
        (Class::PhpTrace, as_found, &["PHP Fatal error: ", "PHP Stack trace:", "Fatal error: Uncaught "]),
        (Class::PythonTrace, as_found, &["Traceback (most recent call last)"]),
        (
            Class::PythonTrace,
            python_frame,
            &[".py\", line ", ".py\\\", line ", ".py&quot;, line ", ".py&#34;, line "],
        ),
        (Class::RubyTrace, ruby_frame, &[".rb:"]),
        (Class::RustTrace, rust_panic, &["' panicked at ", ") panicked at "]),
        (
            Class::RustTrace,
            as_found,
            &["core::panicking::panic", "rust_begin_unwind", "note: run with `RUST_BACKTRACE"],
        ),
        (Class::SqlError, oracle, &["ORA-"]),
        (
            Class::SqlError,
            as_found,
            &[
                "You have an error in your SQL syntax",
                "check the manual that corresponds to your MySQL",
                "check the manual that corresponds to your MariaDB",
                "MySQLSyntaxErrorException",
                "com.mysql.jdbc",
                "com.mysql.cj.jdbc",
                "Warning: mysql_",
                "Warning: mysqli_",
                "SQLSTATE[",
                "PDOException",
                "ERROR: syntax error at or near",
                "ERROR:  syntax error at or near",
                "syntax error at or near \"",
                "syntax error at or near \\\"",
                "unterminated quoted string at or near",
                "PG::SyntaxError",
                "PG::UndefinedTable",
                "pg_query(): Query failed",
                "org.postgresql.util.PSQLException",
                "psycopg2.errors.",
                "psycopg2.ProgrammingError",
                "asyncpg.exceptions.",
                "Npgsql.PostgresException",
                "duplicate key value violates unique constraint",
                "violates foreign key constraint",
                "Unclosed quotation mark after the character string",
                "Unclosed quotation mark before the character string",
                "Incorrect syntax near '",
                "Incorrect syntax near the keyword",
                "System.Data.SqlClient.SqlException",
                "Microsoft.Data.SqlClient.SqlException",
                "com.microsoft.sqlserver.jdbc.SQLServerException",
                "[ODBC SQL Server Driver]",
                "Microsoft OLE DB Provider for",
                "Microsoft JET Database Engine",
                "quoted string not properly terminated",
                "java.sql.SQLException",
                "java.sql.SQLSyntaxErrorException",
                "oracle.jdbc.",
                "SQLite3::SQLException",
                "sqlite3.OperationalError",
                "SQLITE_ERROR",
                "SQLite/JDBCDriver",
                "System.Data.SQLite.SQLiteException",
                "DB2 SQL error:",
                "[IBM][CLI Driver]",
                "com.ibm.db2.jcc",
                "Dynamic SQL Error",
                "org.hibernate.exception.",
                "sqlalchemy.exc.",
                "ActiveRecord::StatementInvalid",
                "QueryFailedError:",
                "MongoServerError:",
                "MongoError:",
                "CassandraError",
            ],
        ),
    ];
    table
        .iter()
        .flat_map(|(class, read, texts)| {
            texts.iter().map(|text| Anchor { text: text.as_bytes(), class: *class, read: *read })
        })
        .collect::<Vec<_>>()
        .into_iter()
}

#[expect(clippy::unnecessary_wraps, reason = "the form of every reader")]
fn as_found(_: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    Some(at)
}

/// The digits from `at` on, at least one.
fn digits(text: &[u8], at: usize) -> Option<usize> {
    let length = text.get(at..)?.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    (length > 0).then_some(at + length)
}

/// What a frame does not go beyond: a line, a string or an element. `\` ends it, because an escape must stay whole.
fn ends_frame(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | b'"' | b'\\' | b'<' | b'>' | b'`')
}

/// How far back from `at` a frame reaches.
fn line_start(text: &[u8], at: usize) -> usize {
    let from = at.saturating_sub(FRAME_BYTES_MAX);
    let before = text.get(from..at).unwrap_or_default();
    let cut = before.iter().rposition(|byte| ends_frame(*byte)).map_or(0, |found| {
        // The letter of an escape such as `\n` and `\t` belongs to the escape.
        let escape = before.get(found) == Some(&b'\\');
        found + 1 + usize::from(escape)
    });
    (from + cut).min(at)
}

/// `at com.example.Shop.buy(Shop.java:42)`, `at buy (/srv/shop.js:4:2)`, `at file:///srv/shop.js:4:2`.
fn called_frame(text: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    let mut end = digits(text, at.end)?;
    while text.get(end) == Some(&b':') {
        let Some(next) = digits(text, end + 1) else { break };
        end = next;
    }
    let from = line_start(text, at.start);
    let line = text.get(from..at.start)?;
    let call = memchr::memmem::rfind(line, b"at ")?;
    let begins = call == 0 || !line.get(call - 1).is_some_and(u8::is_ascii_alphanumeric);
    // Between `at ` and the file stands one name, with an opening bracket if it is a method.
    let name = line.get(call + 3..)?;
    let words = name.split(|byte| *byte == b' ').count();
    (begins && words <= 6 && !name.is_empty())
        .then(|| from + call..if text.get(end) == Some(&b')') { end + 1 } else { end })
}

/// `at Shop.Buy(Int32 id) in C:\srv\Shop.cs:line 42`: the path has backslashes, so the frame starts at the file.
fn dotnet_frame(text: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    let end = digits(text, at.end)?;
    Some(line_start(text, at.start)..end)
}

/// `goroutine 1 [running]:`.
fn goroutine(text: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    let end = digits(text, at.end)?;
    text.get(end..)?.starts_with(b" [").then_some(at.start..end)
}

/// `#0 /srv/shop.php(42): buy()`, `in /srv/shop.php:42`, `in /srv/shop.php on line 42`.
fn php_frame(text: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    let bold = text.get(at.end..)?.starts_with(b"<b>");
    let end = digits(text, at.end + if bold { 3 } else { 0 })?;
    let from = line_start(text, at.start);
    let line = text.get(from..at.start)?;
    let path = line.iter().rposition(|byte| *byte == b' ').map_or(0, |space| space + 1);
    // A relative address such as `/shop.php:80` in a link is none: the frame says `in` or counts.
    let counted = line.first() == Some(&b'#')
        || memchr::memmem::find(line, b" in ").is_some()
        || line.starts_with(b"in ");
    let bracket = text.get(end) == Some(&b')');
    let spoken = memchr::memmem::find(text.get(at.clone())?, b" on line ").is_some();
    (spoken || (counted && (bracket || text.get(at.end - 1) == Some(&b':')))).then_some(from + path..end)
}

/// `File "/srv/shop.py", line 42, in buy`.
fn python_frame(text: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    let end = digits(text, at.end)?;
    let from = line_start(text, at.start);
    Some(from..end)
}

/// `/srv/shop.rb:42:in 'buy'`.
fn ruby_frame(text: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    let end = digits(text, at.end)?;
    if !text.get(end..)?.starts_with(b":in ") {
        return None;
    }
    let from = line_start(text, at.start);
    let path = text.get(from..at.start)?.iter().rposition(|byte| *byte == b' ').map_or(0, |space| space + 1);
    Some(from + path..end)
}

/// `thread 'main' panicked at src/main.rs:4:2`.
fn rust_panic(text: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    let line = text.get(at.end..(at.end + FRAME_BYTES_MAX).min(text.len()))?;
    let file = memchr::memmem::find(line, b".rs:")?;
    if line.get(..file)?.iter().any(|byte| ends_frame(*byte)) {
        return None;
    }
    Some(at.start + 2..digits(text, at.end + file + 4)?)
}

/// `ORA-00933`.
fn oracle(text: &[u8], at: Range<usize>) -> Option<Range<usize>> {
    let end = digits(text, at.end)?;
    let begins =
        at.start.checked_sub(1).and_then(|at| text.get(at)).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    (end - at.end == 5 && begins).then_some(at.start..end)
}
