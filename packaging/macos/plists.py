#!/usr/bin/env python3
"""Holds property lists against the keys that Apple documents: plists.py daemon|profile FILE; says what is wrong, and fails.

launchd.plist(5); "Configuration Profile Reference" and "Privacy Preferences Policy Control" of Apple's device management
documentation. A key that is spelt wrong is silently ignored by macOS, so an unknown one is an error here.
"""
import plistlib
import re
import sys

# Key: (type, required).
LAUNCHD = {
    "Label": (str, True),
    "ProgramArguments": (list, True),
    "RunAtLoad": (bool, False),
    "KeepAlive": ((bool, dict), False),
    "ThrottleInterval": (int, False),
    "ExitTimeOut": (int, False),
    "ProcessType": (str, False),
    "Nice": (int, False),
    "LowPriorityIO": (bool, False),
    "SoftResourceLimits": (dict, False),
    "StandardErrorPath": (str, False),
    "LimitLoadToSessionType": (str, False),
}
PAYLOAD = {
    "PayloadType": (str, True),
    "PayloadVersion": (int, True),
    "PayloadIdentifier": (str, True),
    "PayloadUUID": (str, True),
    "PayloadDisplayName": (str, False),
}
PROFILE = PAYLOAD | {
    "PayloadDescription": (str, False),
    "PayloadOrganization": (str, False),
    "PayloadScope": (str, True),
    "PayloadContent": (list, True),
}
POLICY = PAYLOAD | {"Services": (dict, True)}
ACCESS = {
    "Identifier": (str, True),
    "IdentifierType": (str, True),
    "CodeRequirement": (str, True),
    "StaticCode": (bool, False),
    "Allowed": (bool, True),
    "Comment": (str, False),
}
problems = []


def expect(holds, text):
    if not holds:
        problems.append(text)


def hold(place, found, keys):
    for key, value in found.items():
        expect(key in keys, f"{place}: {key} is no key")
        if key in keys:
            kind = keys[key][0]
            # To Python a truth is a number.
            right = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
            expect(right, f"{place}: {key} is {value!r}")
    for key, (_, required) in keys.items():
        expect(not required or key in found, f"{place}: {key} is missing")


def daemon(found):
    hold("list", found, LAUNCHD)
    arguments = found.get("ProgramArguments", [])
    expect(arguments and all(isinstance(word, str) for word in arguments), "the program's words are no texts")
    expect(arguments and arguments[0].startswith("/"), "the program has no absolute path")
    expect(found.get("ProcessType", "Standard") in ("Background", "Standard", "Adaptive", "Interactive"), "no process type")
    expect(found.get("LimitLoadToSessionType", "Aqua") in ("Aqua", "LoginWindow", "Background", "System"), "no session type")
    expect(-20 <= found.get("Nice", 0) <= 20, "no nice value")


def payload(place, found, keys, kind):
    hold(place, found, keys)
    expect(found.get("PayloadType") == kind, f"{place}: of type {found.get('PayloadType')}")
    expect(found.get("PayloadVersion") == 1, f"{place}: of another version")
    uuid = found.get("PayloadUUID", "")
    expect(re.fullmatch("[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", uuid), f"{place}: {uuid} is no UUID")


def profile(found):
    payload("profile", found, PROFILE, "Configuration")
    # The policy holds for the machine, and only when a device management sends it.
    expect(found.get("PayloadScope") == "System", "the profile is not the machine's")
    policies = found.get("PayloadContent", [])
    expect(len(policies) == 1, "not one policy")
    for policy in policies:
        payload("policy", policy, POLICY, "com.apple.TCC.configuration-profile-policy")
        expect(policy.get("PayloadUUID") != found.get("PayloadUUID"), "two payloads have one UUID")
        services = policy.get("Services", {})
        expect(list(services) == ["SystemPolicyAllFiles"], f"services {list(services)}")
        for access in services.get("SystemPolicyAllFiles", []):
            hold("access", access, ACCESS)
            expect(access.get("IdentifierType") in ("path", "bundleID"), "no type of identifier")
            expect(access.get("Allowed") is True, "nothing is allowed")
            requirement = access.get("CodeRequirement", "")
            expect("anchor apple generic" in requirement and "subject.OU" in requirement, "anybody's program is allowed")


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("daemon", "profile"):
        sys.exit("usage: plists.py daemon|profile FILE")
    with open(sys.argv[2], "rb") as file:
        found = plistlib.load(file)
    (daemon if sys.argv[1] == "daemon" else profile)(found)
    for problem in problems:
        print(f"{sys.argv[2]}: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
