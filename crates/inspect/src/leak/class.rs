//! What a leak can be.

macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident $word:literal $group:ident,)*) => {
        /// A class of leak.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum LeakClass {
            $($(#[$doc])* $variant,)*
        }

        impl LeakClass {
            /// Every class.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its word in documents, records and metrics.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// What kind of leak it is.
            #[must_use]
            pub fn group(self) -> LeakGroup {
                match self { $(Self::$variant => LeakGroup::$group,)* }
            }
        }
    };
}

/// A kind of leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeakGroup {
    /// An error of a database, with which an attacker finds an injection.
    DatabaseError,
    /// Something that lets in whoever holds it.
    Secret,
    /// Where a program failed, with its files and names.
    StackTrace,
    /// Something that honest answers carry too: looked for only when asked for.
    Token,
}

classes! {
    /// A key of Anthropic.
    AnthropicKey "anthropic-key" Secret,
    /// The id of an access key of Amazon Web Services, as it stands beside its secret.
    AwsAccessKey "aws-access-key" Secret,
    /// A secret access key of Amazon Web Services.
    AwsSecretKey "aws-secret-key" Secret,
    /// The key of a storage account of Azure.
    AzureStorageKey "azure-storage-key" Secret,
    /// A key of this gateway.
    BartizanKey "bartizan-key" Secret,
    /// The address of a database or queue with a password in it; the password is the finding.
    ConnectionPassword "connection-password" Secret,
    /// A token of DigitalOcean.
    DigitalOceanToken "digitalocean-token" Secret,
    /// A token of GitHub.
    GitHubToken "github-token" Secret,
    /// A token of GitLab.
    GitLabToken "gitlab-token" Secret,
    /// A key of Google's interfaces, or the secret of an OAuth client.
    GoogleKey "google-key" Secret,
    /// A token of Hugging Face.
    HuggingFaceToken "huggingface-token" Secret,
    /// A token of the npm registry.
    NpmToken "npm-token" Secret,
    /// A key of OpenAI.
    OpenAiKey "openai-key" Secret,
    /// A private key in PEM.
    PrivateKey "private-key" Secret,
    /// A token of the Python package index.
    PypiToken "pypi-token" Secret,
    /// A key of SendGrid.
    SendGridKey "sendgrid-key" Secret,
    /// A token of Shopify.
    ShopifyToken "shopify-token" Secret,
    /// A token of Slack, or an address that takes messages without one.
    SlackToken "slack-token" Secret,
    /// A secret or restricted live key of Stripe, or the secret of a webhook.
    StripeKey "stripe-key" Secret,
    /// A token of Vault.
    VaultToken "vault-token" Secret,
    /// A JSON Web Token. Answers of token endpoints carry them on purpose.
    JsonWebToken "json-web-token" Token,
    /// A stack trace of .NET.
    DotnetTrace "dotnet-trace" StackTrace,
    /// A stack trace of Go.
    GoTrace "go-trace" StackTrace,
    /// A stack trace of Java, Kotlin or Scala.
    JavaTrace "java-trace" StackTrace,
    /// A stack trace of Node.js.
    NodeTrace "node-trace" StackTrace,
    /// A stack trace or error page of PHP.
    PhpTrace "php-trace" StackTrace,
    /// A stack trace of Python.
    PythonTrace "python-trace" StackTrace,
    /// A stack trace of Ruby.
    RubyTrace "ruby-trace" StackTrace,
    /// A panic of Rust.
    RustTrace "rust-trace" StackTrace,
    /// An error of a database.
    SqlError "sql-error" DatabaseError,
}

impl LeakClass {
    /// Those that no honest answer carries: all but tokens.
    pub fn usual() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|class| class.group() != LeakGroup::Token)
    }

    /// The class of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|class| class.word() == word)
    }
}
