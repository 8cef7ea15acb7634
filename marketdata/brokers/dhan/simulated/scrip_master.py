"""The compact scrip master: the instrument list that Dhan publishes, of what the exchange lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from marketdata.brokers.dhan.simulated.catalogue import INDICES, Security
from marketdata.domain.instruments import Contract
from marketdata.simulator import expiries, listed
from marketdata.simulator.instrument import Instrument

_HEADER = (
    "SEM_EXM_EXCH_ID,SEM_SEGMENT,SEM_SMST_SECURITY_ID,SEM_INSTRUMENT_NAME,SEM_EXPIRY_CODE,"
    "SEM_TRADING_SYMBOL,SEM_LOT_UNITS,SEM_CUSTOM_SYMBOL,SEM_EXPIRY_DATE,SEM_STRIKE_PRICE,SEM_OPTION_TYPE,"
    "SEM_TICK_SIZE,SEM_EXPIRY_FLAG,SEM_EXCH_INSTRUMENT_TYPE,SEM_SERIES,SM_SYMBOL_NAME"
)
# In the real list beside the shares, and not dealt in here: bonds, a warrant under the share's own
# symbol, a share in a series of its own.
_OTHERS = (
    "NSE,E,760861,EQUITY,0,731PFCL36,1.0,PFCL 7.31% 2036 SR 259B,,,,1.0000,NA,DEB,N0,PFCL 7.31% 2036 SR 259B",
    "NSE,E,15264,EQUITY,0,743AP31,100.0,SDL AP 7.43% 2031,,,,1.0000,NA,DBT,SG,SDL AP 7.43% 2031",
    "NSE,E,8766,EQUITY,0,SGBFEB27,1.0,SGB 2.50% RD: 12 Feb 2027,,,,1.0000,NA,Other,GB,2.50%GOLDBONDS2027SR-VI",
    "NSE,E,770001,EQUITY,0,RELIANCE,1.0,Reliance Industries Warrants,,,,5.0000,NA,Other,W1,RELIANCE WARRANTS",
    "NSE,E,760461,EQUITY,0,RAJESHEXPO,1.0,Rajesh Exports,,,,1.0000,NA,ES,BZ,RAJESH EXPORTS LTD",
    "BSE,E,517063,EQUITY,0,JETKINGQ,1.0,Jetking Infotrain,,,,5.0000,NA,ES,X,JETKING INFOTRAIN LTD.",
)
_SEGMENT_LETTER = {"NSE_CURRENCY": "C", "BSE_CURRENCY": "C", "MCX_COMM": "M"}  # D where not listed
_INDEX_NAMES = frozenset(row[0] for row in listed.rows(listed.INDEX_DERIVATIVES))
_KIND = {"CE": "CALL", "PE": "PUT"}


def csv(rows: Iterable[tuple[Instrument, Security]]) -> str:
    """Return the whole file."""
    return "\n".join((_HEADER, *_OTHERS, *_lines(rows), ""))


def _lines(rows: Iterable[tuple[Instrument, Security]]) -> Iterator[str]:
    for item, security in rows:
        contract = item.listing.contract
        if item.listing.is_index:
            yield _index(item, security)
        elif contract.expiry is None:
            yield _share(contract, security)
        else:
            yield _derivative(contract, security)


def _index(item: Instrument, security: Security) -> str:
    exchange, index = item.listing.contract.exchange, INDICES[item.symbol]
    tick = "0.05" if exchange == "NSE" else "0.01"  # of indices in rupees, as in the real list
    return (
        f"{exchange},I,{security.security_id},INDEX,0,{index.symbol},1.0,{index.label},0001-01-01,,XX,{tick},,"
        f"INDEX,X,{index.symbol}"
    )


def _share(contract: Contract, security: Security) -> str:
    kind = "ETF" if contract.name.startswith("NIP IND ETF") else "ES"
    series = "EQ" if contract.exchange == "NSE" else "A"
    return (
        f"{contract.exchange},E,{security.security_id},EQUITY,0,{contract.tradingsymbol},1.0,"
        f"{contract.name.title()},,,,{_paise(contract.tick_size)},NA,{kind},{series},{contract.name}"
    )


def _derivative(contract: Contract, security: Security) -> str:
    letter = _SEGMENT_LETTER.get(security.segment, "D")
    return ",".join(
        (
            security.segment.split("_")[0], letter, str(security.security_id), _instrument(contract, letter),
            "0", trading_symbol(contract, letter), f"{contract.lot_size}.0", _label(contract),
            f"{contract.expiry} {'23:30:00' if letter == 'M' else '14:30:00'}", _strike(contract, letter),
            contract.instrument_type if contract.strike else "XX", _paise(contract.tick_size),
            _flag(contract), _exchange_type(contract, letter), "2" if letter == "M" else "",
            "" if letter == "D" else contract.name,
        )
    )  # fmt: skip


def trading_symbol(contract: Contract, letter: str) -> str:
    """Return Dhan's name: without the day on stock exchanges, so that weekly series share one."""
    if contract.expiry is None:
        return contract.tradingsymbol
    day = f"{contract.expiry:%b%Y}" if letter == "D" else f"{contract.expiry:%d%b%Y}"
    if contract.strike is None:
        return f"{contract.name}-{day}-FUT"
    return f"{contract.name}-{day}-{contract.strike.normalize():f}-{contract.instrument_type}"


def _instrument(contract: Contract, letter: str) -> str:
    kind = "FUT" if contract.strike is None else "OPT"
    if letter == "M":
        return "FUTCOM" if kind == "FUT" else "OPTFUT"
    if letter == "C":
        return f"{kind}CUR"
    return f"{kind}IDX" if contract.name in _INDEX_NAMES else f"{kind}STK"


def _exchange_type(contract: Contract, letter: str) -> str:
    if letter != "D":
        return _instrument(contract, letter)
    return "FUT" if contract.strike is None else "OP"


def _label(contract: Contract) -> str:
    expiry = contract.expiry
    if contract.strike is None:
        return f"{contract.name} {expiry:%b} FUT".upper()
    kind = _KIND[contract.instrument_type]
    return f"{contract.name} {expiry:%d %b} {contract.strike.normalize():f} {kind}".upper()


def _strike(contract: Contract, letter: str) -> str:
    if contract.strike is None:
        return "0.00000" if letter == "M" else "-0.01000"
    return f"{contract.strike:.5f}"


def _flag(contract: Contract) -> str:
    """Return M for a contract of the month, W for one of a week."""
    if contract.expiry is None:
        return "NA"
    month = contract.name + expiries.month_code(contract.expiry)
    return "M" if contract.tradingsymbol.startswith(month) else "W"


def _paise(tick: Decimal) -> str:
    return f"{tick * 100:.4f}"
