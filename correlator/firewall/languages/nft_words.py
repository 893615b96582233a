"""The words of an nftables rule: its expressions, as ``nft -j`` has them, in nft's own notation
(nft(8), libnftables-json(5)), without what its counters say."""

from __future__ import annotations

from typing import Any

_BARE = ("iifname", "oifname", "iif", "oif")
_NAMES = ("iifname", "oifname", "iif", "oif")
_VERDICTS = ("accept", "drop", "continue", "return")
_OPERATORS = ("&", "|", "^", "<<", ">>")


def rule_words(expressions: list[Any], comment: str = "") -> str:
    """A rule as one line."""
    words = [_statement(one) for one in expressions]
    if comment:
        words.append(f'comment "{comment}"')
    return " ".join(word for word in words if word)


def _statement(statement: Any) -> str:
    """One statement."""
    if not isinstance(statement, dict) or len(statement) != 1:
        return str(statement)
    ((kind, body),) = statement.items()
    if kind == "match":
        return _match(body)
    if kind == "counter":
        return f'counter name "{body}"' if isinstance(body, str) else "counter"
    if kind in _VERDICTS:
        return str(kind)
    if kind in ("jump", "goto"):
        return f"{kind} {body['target']}"
    if kind == "vmap":
        return f"{value(body['key'])} vmap {value(body['data'])}"
    if kind == "mangle":
        return f"{value(body['key'])} set {value(body['value'], _key_of(body['key']))}"
    if kind in ("dnat", "snat", "masquerade", "redirect"):
        return _nat(str(kind), body or {})
    if kind == "reject":
        return _reject(body or {})
    if kind == "limit":
        return _limit(body)
    if kind == "log":
        quoted = {"prefix": f'"{body["prefix"]}"'} if body and "prefix" in body else {}
        return f"log {_pairs({**(body or {}), **quoted})}".rstrip()
    if kind == "set":
        return f"{body['op']} {body['set']} {{ {value(body['elem'])} }}"
    if kind in ("ct helper", "ct timeout", "ct expectation"):
        return f'{kind} set "{body}"'
    if kind == "quota":
        return f'quota name "{body}"' if isinstance(body, str) else f"quota {_pairs(body)}"
    return f"{kind} {_pairs(body)}".rstrip()


def _match(body: dict[str, Any]) -> str:
    left, operator, right = body["left"], body["op"], body["right"]
    key = _key_of(left)
    plain = operator == "in" or (operator == "==" and not _is_operation(left))
    words = [value(left), value(right, key)]
    return " ".join(words if plain else [words[0], str(operator), words[1]])


def _is_operation(expression: Any) -> bool:
    return isinstance(expression, dict) and any(one in expression for one in _OPERATORS)


def _key_of(expression: Any) -> str:
    """What is asked for: the key of a meta or ct expression, else empty."""
    if isinstance(expression, dict):
        for kind in ("meta", "ct"):
            if isinstance(expression.get(kind), dict):
                return str(expression[kind].get("key", ""))
        for operator in _OPERATORS:
            if isinstance(expression.get(operator), list):
                return _key_of(expression[operator][0])
    return ""


def value(expression: Any, key: str = "") -> str:
    """An expression; ``key``: what it is a value of."""
    if isinstance(expression, bool):
        return "exists" if expression else "missing"
    if isinstance(expression, int):
        return f"0x{expression:08x}" if key == "mark" else str(expression)
    if isinstance(expression, str):
        quoted = key in _NAMES and not expression.startswith("@")
        return f'"{expression}"' if quoted else expression
    if isinstance(expression, list):
        return ",".join(value(one, key) for one in expression)
    if not isinstance(expression, dict) or not expression:
        return str(expression)
    kind, body = next(iter(expression.items()))
    return _compound(str(kind), body, key)


def _compound(kind: str, body: Any, key: str) -> str:
    if kind == "payload":
        return f"{body.get('protocol', '@')} {body.get('field', _pairs(body))}"
    if kind == "meta":
        return str(body["key"]) if body["key"] in _BARE else f"meta {body['key']}"
    if kind == "ct":
        words = ("ct", body.get("dir", ""), body.get("family", ""), str(body["key"]))
        return " ".join(word for word in words if word)
    if kind == "fib":
        return f"fib {' . '.join(_listed(body['flags']))} {body['result']}"
    if kind == "concat":
        return " . ".join(value(one, key) for one in body)
    if kind == "prefix":
        return f"{value(body['addr'])}/{body['len']}"
    if kind == "range":
        return f"{value(body[0], key)}-{value(body[1], key)}"
    if kind == "set":
        return f"{{ {', '.join(_element(one, key) for one in _listed(body))} }}"
    if kind == "map":
        return f"{value(body['key'])} map {value(body['data'])}"
    if kind == "elem":
        return value(body["val"], key)
    if kind in ("numgen", "jhash", "symhash"):
        return _generator(kind, body)
    if kind in _OPERATORS:
        return f" {kind} ".join(value(one, key) for one in body)
    return f"{kind} {_pairs(body)}".rstrip()


def _generator(kind: str, body: dict[str, Any]) -> str:
    if "text" in body:
        return f"{kind} {body['text']}"
    asked = body.get("mode") or (value(body["expr"]) if "expr" in body else "")
    offset = f"offset {body['offset']}" if body.get("offset") else ""
    return " ".join(word for word in (kind, asked, f"mod {body.get('mod')}", offset) if word)


def _element(element: Any, key: str) -> str:
    """A member of a set, or of a map: [key, what it leads to]."""
    if isinstance(element, list) and len(element) == 2:
        target = element[1]
        return f"{value(element[0], key)} : {_target(target)}"
    return value(element, key)


def _target(target: Any) -> str:
    if isinstance(target, dict) and next(iter(target), "") in (*_VERDICTS, "jump", "goto"):
        return _statement(target)
    return value(target)


def _nat(kind: str, body: dict[str, Any]) -> str:
    words = [kind, str(body.get("family", ""))]
    if "addr" in body or "port" in body:
        address = value(body["addr"]) if "addr" in body else ""
        ports = f":{value(body['port'])}" if "port" in body else ""
        words.append(f"to {f'[{address}]' if ports and address.count(':') > 1 else address}{ports}")
    words += _listed(body.get("flags", []))
    return " ".join(word for word in words if word)


def _reject(body: dict[str, Any]) -> str:
    if not body:
        return "reject"
    return f"reject with {body.get('type', '')} {body.get('expr', '')}".rstrip()


def _limit(body: Any) -> str:
    if isinstance(body, str):
        return f'limit name "{body}"'
    over = "over " if body.get("inv") else ""
    rate = f"{body.get('rate')}{' ' if 'rate_unit' in body else ''}{body.get('rate_unit', '')}"
    unit = body.get("burst_unit", "packets")
    return f"limit rate {over}{rate}/{body.get('per')} burst {body.get('burst', 5)} {unit}"


def _listed(body: Any) -> list[Any]:
    return body if isinstance(body, list) else [body]


def _pairs(body: Any) -> str:
    """What has no notation of its own here."""
    if isinstance(body, dict):
        return " ".join(f"{key} {value(one)}" for key, one in body.items())
    return "" if body is None else value(body)
