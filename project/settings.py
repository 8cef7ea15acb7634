"""Django's settings: the only reader of the environment. See README for each variable."""

from __future__ import annotations

import sys
from pathlib import Path

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from marketdata.brokers import registry
from project import database
from project import env as environment

BASE_DIR = Path(__file__).resolve().parent.parent
env = environment.load(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)

_missing: list[str] = []


def _required(name: str, development: str) -> str:
    try:
        return environment.required(name, debug=DEBUG, development=development)
    except ImproperlyConfigured as exc:
        _missing.append(str(exc))
        return ""


# The development keys are public on purpose: they protect nothing and say so.
SECRET_KEY = _required("SECRET_KEY", "development-only-not-a-secret-" + "x" * 40)
CREDENTIAL_KEYS = _required("CREDENTIAL_KEYS", "ZGV2ZWxvcG1lbnQtb25seS1ub3QtYS1zZWNyZXQtMDA=").split(",")
ALLOWED_HOSTS = _required("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
_database_url = _required("DATABASE_URL", f"sqlite:///{BASE_DIR / 'tickguard.sqlite3'}")
if _missing:
    raise ImproperlyConfigured("\n".join(_missing))

# --- Where things are -------------------------------------------------------------------
REDIS_URL = env.str("REDIS_URL", default="")
LOCK_DIR = Path(env.str("LOCK_DIR", default=str(BASE_DIR / ".run")))
MARKET_HOURS = env.str("MARKET_HOURS", default="exchange")
if MARKET_HOURS not in ("exchange", "always"):
    raise ImproperlyConfigured(f"MARKET_HOURS={MARKET_HOURS!r}: expected exchange or always")
LTP_TTL_S = env.int("LTP_TTL_S", default=30)
HEALTH_TOKEN = env.str("HEALTH_TOKEN", default="")
# For each token of the REST API.
API_READS_PER_MINUTE = env.int("API_READS_PER_MINUTE", default=600)
API_WRITES_PER_MINUTE = env.int("API_WRITES_PER_MINUTE", default=60)
# Where run_listeners serves its metrics; None: nowhere.
METRICS_AT = environment.listening_at("METRICS_PORT")
LIVE_TRADING = env.bool("LIVE_TRADING", default=False)
# Where alerts go besides the live page, as apprise writes it. Most hold a token.
ALERT_URLS = environment.secret_urls("ALERT_URLS")
# Requested each minute while every stop is protected. Whoever knows it can keep it quiet.
DEADMAN_URL = environment.secret_url("DEADMAN_URL")

# By broker, by role. A broker whose endpoints are all on loopback is a simulator.
BROKER_ENDPOINTS = {
    broker: {
        role: environment.root(endpoint.variable, endpoint.default, schemes=endpoint.schemes)
        for role, endpoint in registry.endpoints(broker).items()
    }
    for broker in registry.BROKERS
}
SIMULATED_BROKERS = frozenset(
    broker for broker, roots in BROKER_ENDPOINTS.items() if all(map(environment.is_loopback, roots.values()))
)
# The simulator's own control API, for scripted prices and faults.
SIMULATOR_CONTROL = environment.root("SIMULATOR_CONTROL", "http://127.0.0.1:8901", schemes=("http",))

# --- Django -----------------------------------------------------------------------------
INSTALLED_APPS = [
    "project.serving.DaphneConfig",  # daphne, first: `runserver` is its own
    "project.cockpit.apps.CockpitConfig",  # django.contrib.admin, with a site of our own
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "import_export",
    "simple_history",
    "marketdata",
    "strategies",
    "project",
    "project.api",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
]
ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": database.configured(env.db_url_config(_database_url))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if REDIS_URL:
    # The core layer blocks for as long as redis-py waits and loses its groups when Redis
    # restarts; the pub/sub layer subscribes again by itself.
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [REDIS_URL], "prefix": "tickguard"},
        }
    }
    CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": REDIS_URL,
            "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1, "IGNORE_EXCEPTIONS": True},
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

LANGUAGE_CODE = "en-in"
TIME_ZONE = "Asia/Kolkata"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = True

# --- Security ---------------------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"

# --- Admin ------------------------------------------------------------------------------
SIMPLE_HISTORY_REVERT_DISABLED = True  # what services alone may write is not written back from a record
IMPORT_EXPORT_IMPORT_PERMISSION_CODE = "add"
IMPORT_EXPORT_EXPORT_PERMISSION_CODE = "view"

# --- Logs -------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "stream": sys.stderr, "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        # At INFO these print request URLs, and a broker's carry its access token.
        name: {"level": "WARNING"}
        for name in ("urllib3", "websockets", "httpx", "aiohttp.access")
    },
}
