#!/usr/bin/env python3
"""Writes a configuration profile that gives the agent Full Disk Access: profile.py TEAM [ORGANIZATION] >nightkeep.mobileconfig

TEAM is the ten-character team of the certificate that signed the agent. A device management sends the profile; a profile that a
person opens is refused, and macOS gives the right to no program that is not signed.
"""
import plistlib
import re
import sys
import uuid

LABEL = "org.nightkeep.agent"
PROGRAM = "/Library/Nightkeep/nightkeep-agent"
# The same profile for the same team, so that a new one takes the old one's place.
SPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "agent.nightkeep.org")


def requirement(team):
    """Signed with a Developer ID certificate of this team, under this identifier (TN3127)."""
    return (
        f'identifier "{LABEL}" and anchor apple generic'
        " and certificate 1[field.1.2.840.113635.100.6.2.6] exists"
        " and certificate leaf[field.1.2.840.113635.100.6.1.13] exists"
        f' and certificate leaf[subject.OU] = "{team}"'
    )


def payload(kind, name, team, **more):
    identifier = f"{LABEL}.{name}"
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": str(uuid.uuid5(SPACE, f"{team} {name}")).upper(),
    } | more


def profile(team, organization):
    access = {
        "Identifier": PROGRAM,
        "IdentifierType": "path",
        "CodeRequirement": requirement(team),
        "StaticCode": False,
        "Allowed": True,
        "Comment": "Backs up every file of this computer",
    }
    policy = payload(
        "com.apple.TCC.configuration-profile-policy",
        "privacy",
        team,
        PayloadDisplayName="Full Disk Access for Nightkeep",
        Services={"SystemPolicyAllFiles": [access]},
    )
    return payload(
        "Configuration",
        "profile",
        team,
        PayloadDisplayName="Nightkeep Backup Agent",
        PayloadDescription="Lets the backup agent read all files of this computer.",
        PayloadOrganization=organization,
        PayloadScope="System",
        PayloadContent=[policy],
    )


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: profile.py TEAM [ORGANIZATION]")
    team = sys.argv[1]
    if not re.fullmatch("[A-Z0-9]{10}", team):
        sys.exit(f"{team!r} is no team: ten capital letters and digits, as `codesign -dv` shows it")
    organization = sys.argv[2] if len(sys.argv) == 3 else "Nightkeep"
    sys.stdout.buffer.write(plistlib.dumps(profile(team, organization), sort_keys=False))


if __name__ == "__main__":
    main()
