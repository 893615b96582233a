"""Rulesets of many rules, in the shapes that Docker and kube-proxy write, for
:mod:`benchmarks.workload`."""

from __future__ import annotations


def docker_ports(count: int) -> tuple[str, str]:
    """``count`` published ports more: a DNAT rule and an ACCEPT rule each."""
    nat, accept = [], []
    for number in range(count):
        address = f"172.17.{1 + number // 250}.{2 + number % 250}"
        port = 10_000 + number
        nat.append(
            f"[0:0] -A DOCKER ! -i docker0 -p tcp -m tcp --dport {port} -j DNAT --to-destination "
            f"{address}:8080\n"
        )
        accept.append(
            f"[0:0] -A DOCKER -d {address}/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 8080 "
            f"-j ACCEPT\n"
        )
    return "".join(nat), "".join(accept)


def kube_services(count: int) -> tuple[str, str]:
    """``count`` services of two endpoints each: seven rules and three chains a service, none of
    them for these clients."""
    chains = [":KUBE-SERVICES - [0:0]\n"]
    rules = [
        '[0:0] -A PREROUTING -d 10.96.0.0/12 -m comment --comment "kubernetes service portals" -j '
        "KUBE-SERVICES\n"
    ]
    for number in range(count):
        service, ends = (
            f"KUBE-SVC-{number:016X}",
            [f"KUBE-SEP-{2 * number + end:016X}" for end in (0, 1)],
        )
        chains += [f":{name} - [0:0]\n" for name in (service, *ends)]
        note = f'-m comment --comment "default/service-{number}:http'
        address = f"10.96.{number // 250}.{1 + number % 250}"
        rules += [
            f'[0:0] -A KUBE-SERVICES -d {address}/32 -p tcp {note} cluster IP" -m tcp --dport 80 '
            f"-j {service}\n",
            f'[0:0] -A {service} {note}" -m statistic --mode random --probability 0.50000000000 '
            f"-j {ends[0]}\n",
            f'[0:0] -A {service} {note}" -j {ends[1]}\n',
        ]
        for end, name in enumerate(ends):
            pod = f"10.244.{2 * number // 250}.{1 + (2 * number + end) % 250}"
            rules.append(f'[0:0] -A {name} -s {pod}/32 {note}" -j RETURN\n')
            rules.append(
                f'[0:0] -A {name} -p tcp {note}" -m tcp -j DNAT --to-destination {pod}:8080\n'
            )
    return "".join((*chains, *rules)), ""
