"""Who plays in the demo: projects, models, routes, agents and tools, with the figures they are known for.

Names and phrases follow the sample the platform wrote. Prices are one rate for input and output together,
near the list prices of mid-sized and large hosted models; a local model costs its electricity.
"""

from typing import NamedTuple

# By falling share of the work. Line break, quotes, backslash and non-ASCII are the sample's: labels must
# survive them.
PROJECTS = (
    "smart-mcp-gateway",
    "billing-api",
    "mobile-app",
    "AI-Orchestration-Analytics",
    "research-notebooks",
    'Ünïcode "proj"\\x',
    "data\nplatform",
    "other",
)


class Model(NamedTuple):
    """A model: its price, and the median seconds and the quality (0..1) of its answers."""

    name: str
    vendor: str
    local: bool
    usd_per_token: float
    median_s: float
    quality: float


SONNET = Model("claude-sonnet", "anthropic", False, 9e-6, 6.0, 0.95)
OPUS = Model("claude-opus", "anthropic", False, 3e-5, 11.0, 0.97)
REASONER = Model("deepseek-r1", "deepseek", True, 2e-7, 9.0, 0.91)
CODER = Model("deepseek-coder", "deepseek", True, 1e-7, 4.0, 0.9)
MODELS = (SONNET, OPUS, REASONER, CODER)


class Route(NamedTuple):
    """Why work goes where: the closed reason, the free text, its task types, and (model, weight) pairs."""

    reason: str
    phrase: str
    task_types: tuple[str, ...]
    models: tuple[Model, ...]
    weights: tuple[int, ...]


UNAVAILABLE = "deepseek_unavailable"
UNAVAILABLE_PHRASE = "DeepSeek unavailable - fallback to Claude"
ROUTES = (
    Route(
        "code_implementation_task",
        "Implementation task detected (2 indicators)",
        ("code_generation", "implementation"),
        (CODER, SONNET),
        (8, 2),
    ),
    Route(
        "simple_coding_task",
        "Implementation task detected (1 indicators); Routine task indicators (1)",
        ("code_generation", "debugging"),
        (CODER, REASONER),
        (7, 3),
    ),
    Route(
        "routine_modification",
        "Routine task indicators (2)",
        ("refactoring", "documentation"),
        (CODER, REASONER),
        (6, 4),
    ),
    Route(
        "complex_reasoning_needed",
        "Complex reasoning required (2 indicators)",
        ("analysis", "debugging"),
        (SONNET, OPUS, REASONER),
        (5, 2, 3),
    ),
    Route(
        "general_task_evaluation",
        "General task - evaluating complexity",
        ("general", "documentation", "analysis"),
        (REASONER, SONNET),
        (6, 4),
    ),
)
ROUTE_WEIGHTS = (22, 24, 14, 18, 22)

DESCRIPTIONS = (
    "Analyze architecture for multi region deploy",
    "Design a strategy for caching",
    "Fix bug in payment webhook handler",
    "Implement user authentication with JWT",
    "Load testing of the checkout service, check bottlenecks",
    "Refactor the report generator class",
    "Research vector databases",
    "Run security scan and penetration testing",
    "Test API endpoints contract",
    "Update the CI pipeline",
    "Validate schema migration and data integrity",
    "Write documentation for API",
)
ERRORS = (
    ("validation", "Output did not match the expected schema"),
    ("timeout", "Timeout"),
    ("api_error", "API returned status 500"),
    ("rate_limit", "Too many requests"),
    ("context_length", "Input exceeds the context window"),
)
ERROR_WEIGHTS = (45, 25, 15, 10, 5)
DOWN = ("connection_refused", "Connection refused: local model server")


class Agent(NamedTuple):
    """A sub-agent: its type, its name, the phrase that calls it, and its median seconds."""

    kind: str
    name: str
    phrase: str
    median_s: float


GENERAL = Agent("general", "general-purpose", "research", 14.0)
AGENTS = (
    GENERAL,
    Agent("api", "api-testing-specialist", "test api endpoints", 9.0),
    Agent("performance", "performance-testing-expert", "load testing", 30.0),
    Agent("security", "security-testing-guardian", "penetration testing", 22.0),
    Agent("database", "database-testing-specialist", "schema migration", 12.0),
)


class Tool(NamedTuple):
    """An MCP tool: server, tool, category, median seconds, and the share of its calls that fail."""

    server: str
    name: str
    category: str
    median_s: float
    failing: float


TOOLS = (
    Tool("filesystem", "read_file", "file", 0.03, 0.01),
    Tool("filesystem", "search", "file", 0.15, 0.01),
    Tool("filesystem", "write_file", "file", 0.04, 0.02),
    Tool("github", "search", "code", 0.9, 0.04),
    Tool("github", "create_pull_request", "code", 1.8, 0.05),
    Tool("postgres", "run_query", "db", 0.2, 0.06),
    Tool("browser", "fetch", "web", 1.4, 0.08),
)
TOOL_WEIGHTS = (34, 22, 14, 9, 3, 12, 6)
