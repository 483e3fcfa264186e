# Installs, updates, removes or asks the Nightkeep agent on Windows; made to be run by a remote management system as the
# system's account, by Windows PowerShell 5.1 or newer:
#
#     powershell -NoProfile -ExecutionPolicy Bypass -File nightkeep.ps1 install | install-with-monitor | update | uninstall | status
#
# Values come from the environment (README.md says how each system passes them):
#   NIGHTKEEP_ACTION         the action, where no argument can be given
#   NIGHTKEEP_URL            the folder with nightkeep.manifest, its signature and the installers; https
#   NIGHTKEEP_TOKEN          the enrolment token, or
#   NIGHTKEEP_TOKEN_FILE     a file that holds it
#   NIGHTKEEP_DURING_BACKUP  1: do it though a backup runs; the backup is interrupted and goes on later
#   NIGHTKEEP_PURGE          1: uninstall deletes identity, state and logs, too
#   NIGHTKEEP_FORMAT         whose words `status` speaks: text, json, nagios, checkmk, prometheus, datto, ninja, nsight,
#                            automate, tactical
#   NIGHTKEEP_PUBLISHER_KEYS the publisher's keys, where this file has none yet (base64, space between)
#
# The last line says what happened. Exit codes are msiexec's: 0 done or nothing to do, 1641 and 3010 done and a restart
# is under way or needed, 1603 failed, 1618 not now, try again.
#
# Invariants: nothing that the publisher did not sign is run; a version is never lowered; the token appears in no argument
# and no output, and in no file but one that only the system and administrators may read, while the installer runs.
param([string]$Action)

# Where the system has no environment variables, lines such as $env:NIGHTKEEP_URL = 'https://...' go here.

if (-not $Action) {
    $Action = $env:NIGHTKEEP_ACTION
}
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

# Filled in by `cargo xtask dist`; what is filled in cannot be changed from the environment.
$PublisherKeys = '@PUBLISHER_KEYS@'
if ($PublisherKeys.StartsWith('@')) {
    $PublisherKeys = [string]$env:NIGHTKEEP_PUBLISHER_KEYS
}

$Token = $env:NIGHTKEEP_TOKEN
$env:NIGHTKEEP_TOKEN = $null
# A 32-bit PowerShell sees another folder of programs.
$ProgramFolder = $env:ProgramW6432
if (-not $ProgramFolder) {
    $ProgramFolder = $env:ProgramFiles
}
$Agent = Join-Path $ProgramFolder 'Nightkeep\nightkeep-agent.exe'
$Monitor = Join-Path $ProgramFolder 'Nightkeep\nightkeep-monitor.exe'
$Work = $null
$Installed = $null

# ---- How it ends

# The line that programs read, and the exit code, which some systems take from here and others from there.
function Complete-Run([string]$Status, [string]$Message, [int]$Code) {
    if ($Work -and (Test-Path -LiteralPath $Work)) {
        Remove-Item -LiteralPath $Work -Recurse -Force -ErrorAction SilentlyContinue
    }
    $version = 'none'
    if ($Installed) {
        $version = $Installed
    }
    # A management system takes anything on the error output for a failure.
    if (@(0, 1641, 3010) -notcontains $Code) {
        [Console]::Error.WriteLine("nightkeep: $Message")
    }
    # Not as a function's result, which its caller may be keeping in a variable.
    [Console]::Out.WriteLine("InstallStatus=$Status Code=$Code Version=$version Message=$Message")
    $Host.SetShouldExit($Code)
    exit $Code
}

function Stop-Run([string]$Status, [string]$Message) {
    Complete-Run $Status $Message 1603
}

# ---- Signatures

# Checking Ed25519 (RFC 8032, 5.1.7), which .NET lacks. Only public values pass here, so that time need not be constant.
$Ed25519Source = @'
using System;
using System.Numerics;
using System.Security.Cryptography;

public static class NightkeepEd25519
{
    static readonly BigInteger P = BigInteger.Pow(2, 255) - 19;
    static readonly BigInteger Q = BigInteger.Pow(2, 252) + BigInteger.Parse("27742317777372353535851937790883648493");
    static readonly BigInteger D = Mod(-121665 * Inverse(121666));
    static readonly BigInteger RootOfMinusOne = BigInteger.ModPow(2, (P - 1) / 4, P);

    static BigInteger Mod(BigInteger value)
    {
        BigInteger rest = value % P;
        return rest.Sign < 0 ? rest + P : rest;
    }

    static BigInteger Inverse(BigInteger value)
    {
        return BigInteger.ModPow(Mod(value), P - 2, P);
    }

    // A number from little-endian bytes, never negative.
    static BigInteger Number(byte[] bytes, int from, int count)
    {
        byte[] padded = new byte[count + 1];
        Array.Copy(bytes, from, padded, 0, count);
        return new BigInteger(padded);
    }

    // A point as X, Y, Z, T with x = X/Z, y = Y/Z, x*y = T/Z; null where the bytes are none.
    static BigInteger[] Decode(byte[] bytes, int from)
    {
        byte[] own = new byte[32];
        Array.Copy(bytes, from, own, 0, 32);
        bool odd = (own[31] & 0x80) != 0;
        own[31] &= 0x7f;
        BigInteger y = Number(own, 0, 32);
        if (y >= P) return null;
        BigInteger square = Mod((y * y - 1) * Inverse(D * y * y + 1));
        BigInteger x = BigInteger.ModPow(square, (P + 3) / 8, P);
        if (Mod(x * x - square) != 0) x = Mod(x * RootOfMinusOne);
        if (Mod(x * x - square) != 0) return null;
        if (x.IsZero && odd) return null;
        if (!x.IsEven != odd) x = P - x;
        return new BigInteger[] { x, y, BigInteger.One, Mod(x * y) };
    }

    static BigInteger[] Add(BigInteger[] a, BigInteger[] b)
    {
        BigInteger A = Mod((a[1] - a[0]) * (b[1] - b[0]));
        BigInteger B = Mod((a[1] + a[0]) * (b[1] + b[0]));
        BigInteger C = Mod(2 * a[3] * b[3] * D);
        BigInteger E = Mod(2 * a[2] * b[2]);
        BigInteger e = B - A, f = E - C, g = E + C, h = B + A;
        return new BigInteger[] { Mod(e * f), Mod(g * h), Mod(f * g), Mod(e * h) };
    }

    static BigInteger[] Multiply(BigInteger[] point, BigInteger times)
    {
        BigInteger[] sum = new BigInteger[] { 0, 1, 1, 0 };
        while (!times.IsZero)
        {
            if (!times.IsEven) sum = Add(sum, point);
            point = Add(point, point);
            times >>= 1;
        }
        return sum;
    }

    public static bool Verify(byte[] key, byte[] message, byte[] signature)
    {
        if (key == null || key.Length != 32 || signature == null || signature.Length != 64) return false;
        BigInteger[] a = Decode(key, 0), r = Decode(signature, 0);
        BigInteger s = Number(signature, 32, 32);
        if (a == null || r == null || s >= Q) return false;
        byte[] hashed = new byte[64 + message.Length];
        Array.Copy(signature, 0, hashed, 0, 32);
        Array.Copy(key, 0, hashed, 32, 32);
        Array.Copy(message, 0, hashed, 64, message.Length);
        BigInteger h;
        using (SHA512 sha = SHA512.Create()) h = Number(sha.ComputeHash(hashed), 0, 64) % Q;
        BigInteger y = BigInteger.Parse("46316835694926478169428394003475163141307993866256225615783033603165251855960");
        BigInteger x = BigInteger.Parse("15112221349535400772501151409588531511454012693041857206046113283949847762202");
        BigInteger[] left = Multiply(new BigInteger[] { x, y, 1, Mod(x * y) }, s);
        BigInteger[] right = Add(r, Multiply(a, h));
        return Mod(left[0] * right[2] - right[0] * left[2]) == 0 && Mod(left[1] * right[2] - right[1] * left[2]) == 0;
    }
}
'@

# Whether what checks signatures works here: RFC 8032's second example holds, and does not with one bit changed.
function Test-Checker {
    $key = [Convert]::FromBase64String('PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=')
    $signature = [Convert]::FromBase64String('kqAJqfDUyrhyDoILX2QlQKKye1QWUD+Ps3YiI+vbadoIWsHkPhWZbkWPNhPQ8R2MOHsurrQwKu6wDSkWErsMAA==')
    if (-not [NightkeepEd25519]::Verify($key, [byte[]]@(0x72), $signature)) {
        return $false
    }
    return -not [NightkeepEd25519]::Verify($key, [byte[]]@(0x73), $signature)
}

function Initialize-Checker {
    if (-not $PublisherKeys) {
        Stop-Run 'SignatureUncheckable' "this script knows no publisher's key; take the one from the release"
    }
    try {
        if ($PSVersionTable.PSVersion.Major -ge 6) {
            Add-Type -TypeDefinition $Ed25519Source
        } else {
            Add-Type -TypeDefinition $Ed25519Source -ReferencedAssemblies 'System.Numerics'
        }
        $works = Test-Checker
    } catch {
        $works = $false
    }
    if (-not $works) {
        Stop-Run 'SignatureUncheckable' "the publisher's signature cannot be checked on this machine; nothing was installed"
    }
}

# Whether one of the signatures is one of the publisher's keys' over these bytes.
function Test-Signature([byte[]]$Message, [string]$Signatures) {
    foreach ($line in @($Signatures -split "`n" | Select-Object -First 4)) {
        foreach ($key in @($PublisherKeys -split ' ')) {
            try {
                $good = [NightkeepEd25519]::Verify([Convert]::FromBase64String($key), $Message, [Convert]::FromBase64String($line.Trim()))
            } catch {
                $good = $false
            }
            if ($good) {
                return $true
            }
        }
    }
    return $false
}

# ---- What is there

# The installed version, or nothing.
function Get-InstalledVersion {
    $entry = Get-UninstallEntry
    if ($entry) {
        return $entry.Version
    }
    return $null
}

# The installer's entry of the agent; a 32-bit PowerShell would look elsewhere.
function Get-UninstallEntry {
    $base = [Microsoft.Win32.RegistryKey]::OpenBaseKey('LocalMachine', 'Registry64')
    $list = $base.OpenSubKey('SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall')
    if (-not $list) {
        return $null
    }
    foreach ($name in $list.GetSubKeyNames()) {
        if ($name -notmatch '^\{[0-9A-Fa-f-]{36}\}$') {
            continue
        }
        $key = $list.OpenSubKey($name)
        if ($key -and $key.GetValue('DisplayName') -eq 'Nightkeep Agent') {
            return New-Object PSObject -Property @{ Product = $name; Version = [string]$key.GetValue('DisplayVersion') }
        }
    }
    return $null
}

function Test-BackupRuns {
    if (-not (Test-Path -LiteralPath $Agent)) {
        return $false
    }
    # What a program writes to its error output is no exception here.
    $ErrorActionPreference = 'Continue'
    try {
        $status = & $Agent status --json 2>$null | Out-String | ConvertFrom-Json
        return @($status.running | Where-Object { $_ }).Count -gt 0
    } catch {
        return $false
    }
}

function Assert-NoBackup {
    if ($env:NIGHTKEEP_DURING_BACKUP -ne '1' -and (Test-BackupRuns)) {
        Complete-Run 'BackupRunning' 'a backup runs; try again later, or set NIGHTKEEP_DURING_BACKUP=1 to interrupt it' 1618
    }
}

# A folder that only the system and administrators may read: what lies in it cannot be changed between check and use. It is
# made where nobody else may write, so that nothing of theirs is in it before its list is set.
function New-Work {
    $account = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
    if (-not $account.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
        Stop-Run 'NotRoot' 'this must run as the system or as an administrator'
    }
    $folder = Join-Path $ProgramFolder ('nightkeep-' + [Guid]::NewGuid().ToString('N'))
    New-Item -ItemType Directory -Path $folder | Out-Null
    & icacls.exe $folder /inheritance:r /grant:r '*S-1-5-18:(OI)(CI)F' '*S-1-5-32-544:(OI)(CI)F' | Out-Null
    if ($LASTEXITCODE -ne 0) {
        Remove-Item -LiteralPath $folder -Recurse -Force
        Stop-Run 'Failed' 'the list of who may read a folder cannot be set'
    }
    return $folder
}

# ---- What the publisher offers

# Downloads a file of the folder into ours; too long a one is refused.
function Get-Offered([string]$Name, [long]$BytesMax) {
    $url = ([string]$env:NIGHTKEEP_URL).TrimEnd('/')
    if ($url -notmatch '^https://') {
        Stop-Run 'PropertyError' 'NIGHTKEEP_URL must be an https:// address'
    }
    $path = Join-Path $Work $Name
    try {
        [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
        Invoke-WebRequest -UseBasicParsing -Uri "$url/$Name" -OutFile $path -TimeoutSec 3600
    } catch {
        Stop-Run 'DownloadFailed' "$url/$Name could not be had: $($_.Exception.Message)"
    }
    if ((Get-Item -LiteralPath $path).Length -gt $BytesMax) {
        Stop-Run 'DownloadFailed' "$url/$Name is too long"
    }
    return $path
}

# The publisher's list: the version, and every installer with hash and length.
function Get-Manifest {
    Initialize-Checker
    $bytes = [IO.File]::ReadAllBytes((Get-Offered 'nightkeep.manifest' 65536))
    $signatures = [IO.File]::ReadAllText((Get-Offered 'nightkeep.manifest.sig' 1024))
    if (-not (Test-Signature $bytes $signatures)) {
        Stop-Run 'SignatureWrong' "the manifest at $env:NIGHTKEEP_URL is not signed by the publisher; nothing was installed"
    }
    $lines = @([Text.Encoding]::UTF8.GetString($bytes) -split "`n")
    if ($lines[0] -cne 'nightkeep-manifest 1') {
        Stop-Run 'ManifestUnknown' "the manifest at $env:NIGHTKEEP_URL is of a kind this script does not know; take a newer script"
    }
    $version = $null
    $files = @{}
    foreach ($line in $lines) {
        if ($line -cmatch '^version ([0-9A-Za-z.-]{1,64})$') {
            $version = $Matches[1]
        } elseif ($line -cmatch '^file ([0-9a-f]{64}) ([0-9]{1,12}) ([0-9A-Za-z._~-]{1,128})$') {
            $files[$Matches[3]] = New-Object PSObject -Property @{ Sum = $Matches[1]; Bytes = [long]$Matches[2] }
        }
    }
    if (-not $version) {
        Stop-Run 'ManifestUnknown' "the manifest at $env:NIGHTKEEP_URL names no version"
    }
    return New-Object PSObject -Property @{ Version = $version; Files = $files }
}

# Downloads an installer and compares it with the publisher's list.
function Get-Installer($Manifest, [string]$Name) {
    $expected = $Manifest.Files[$Name]
    if (-not $expected) {
        Stop-Run 'NoPackage' "this release has no $Name; nothing was installed"
    }
    $path = Get-Offered $Name $expected.Bytes
    $sum = (Get-FileHash -LiteralPath $path -Algorithm SHA256).Hash.ToLowerInvariant()
    if ((Get-Item -LiteralPath $path).Length -ne $expected.Bytes -or $sum -cne $expected.Sum) {
        Stop-Run 'HashWrong' "$Name is not what the publisher signed; nothing was installed"
    }
    return $path
}

# What Windows Installer compares: the first three numbers.
function ConvertTo-Number([string]$Version) {
    return [Version](($Version -split '-')[0])
}

# ---- Changing the machine

# Runs msiexec and answers with its code. The log shows where the token lies, never what it is.
function Invoke-Installer([string[]]$Arguments) {
    $process = Start-Process -FilePath (Join-Path $env:SystemRoot 'System32\msiexec.exe') -ArgumentList $Arguments -Wait -PassThru
    return $process.ExitCode
}

# The token in a file, for the installer and the agent; nothing where there is none.
function Get-TokenFile {
    if ($Token) {
        $path = Join-Path $Work 'token'
        [IO.File]::WriteAllText($path, $Token)
        return $path
    }
    return $env:NIGHTKEEP_TOKEN_FILE
}

function Register-Machine([string]$TokenFile) {
    if (-not $TokenFile) {
        return
    }
    # What a program writes to its error output is no exception here.
    $ErrorActionPreference = 'Continue'
    $said = & $Agent enroll --token-file $TokenFile 2>&1 | Select-Object -Last 1
    if ($LASTEXITCODE -ne 0) {
        Stop-Run 'EnrolmentFailed' "the agent is installed but not enrolled: $said"
    }
}

function Install-Agent([bool]$WithMonitor) {
    $manifest = Get-Manifest
    $tokenFile = Get-TokenFile
    $before = $Installed
    # The installer brings both; a monitor that is there stays by itself.
    $addsMonitor = $WithMonitor -and -not (Test-Path -LiteralPath $Monitor)
    if ($before -and (ConvertTo-Number $before) -gt (ConvertTo-Number $manifest.Version)) {
        Register-Machine $tokenFile
        Complete-Run 'NewerInstalled' "$before stays, as $($manifest.Version) is older" 0
    }
    $isSame = $before -and (ConvertTo-Number $before) -eq (ConvertTo-Number $manifest.Version)
    if ($isSame -and -not $addsMonitor) {
        Register-Machine $tokenFile
        Complete-Run 'AlreadyInstalled' 'nothing to do' 0
    }
    if ($before) {
        Assert-NoBackup
    }
    $path = Get-Installer $manifest "nightkeep-agent-$($manifest.Version).msi"
    if ($before) {
        # A download takes its time.
        Assert-NoBackup
    }
    $log = Join-Path $Work 'msi.log'
    $arguments = @('/i', "`"$path`"", '/qn', '/norestart', '/l*v', "`"$log`"")
    if ($isSame) {
        $arguments += 'ADDLOCAL=Monitor'
    } else {
        if ($WithMonitor) {
            $arguments += 'MONITOR=1'
        }
        if ($tokenFile) {
            $arguments += "ENROLL_TOKEN_FILE=`"$tokenFile`""
        }
    }
    $result = Invoke-Installer $arguments
    if ($result -eq 1618) {
        Complete-Run 'Busy' 'another installation runs; try again later' 1618
    }
    if (@(0, 1641, 3010) -notcontains $result) {
        if (Test-Path -LiteralPath $log) {
            Get-Content -LiteralPath $log -Tail 40 | ForEach-Object { [Console]::Error.WriteLine($_) }
        }
        Stop-Run 'InstallFailed' "msiexec ended with $result; a token that the host refuses does that, too"
    }
    $script:Installed = Get-InstalledVersion
    if (-not (Test-Path -LiteralPath $Agent)) {
        Stop-Run 'InstallFailed' 'msiexec says that it installed the agent, but it is not there'
    }
    if ($WithMonitor -and -not (Test-Path -LiteralPath $Monitor)) {
        Stop-Run 'InstallFailed' 'msiexec says that it installed the backup monitor, but it is not there'
    }
    if ($isSame) {
        Register-Machine $tokenFile
        Complete-Run 'MonitorAdded' 'the backup monitor was added' $result
    }
    if ($before) {
        Complete-Run 'Upgraded' "upgraded from $before" $result
    }
    Complete-Run 'Installed' 'installed' $result
}

function Uninstall-Agent {
    $entry = Get-UninstallEntry
    $result = 0
    if ($entry) {
        Assert-NoBackup
        $result = Invoke-Installer @('/x', $entry.Product, '/qn', '/norestart')
        if ($result -eq 1618) {
            Complete-Run 'Busy' 'another installation runs; try again later' 1618
        }
        # 1605: gone between our look and this.
        if ($result -eq 1605) {
            $result = 0
        }
        if (@(0, 1641, 3010) -notcontains $result) {
            Stop-Run 'UninstallFailed' "msiexec ended with $result"
        }
    }
    $ours = Join-Path $env:ProgramData 'Nightkeep'
    if ($env:NIGHTKEEP_PURGE -eq '1' -and (Test-Path -LiteralPath $ours)) {
        # A folder with a vault in it is never deleted with the program that filled it.
        $vaults = @(Get-ChildItem -LiteralPath $ours -Recurse -Force -Filter 'slot-*' -ErrorAction SilentlyContinue |
            Where-Object { $_.Directory.Name -eq 'keys' })
        if ($vaults.Count -eq 0) {
            Remove-Item -LiteralPath $ours -Recurse -Force
        }
    }
    $script:Installed = Get-InstalledVersion
    if ($entry) {
        Complete-Run 'Uninstalled' "removed $($entry.Version)" $result
    }
    Complete-Run 'NotInstalled' 'nothing to do' 0
}

# The agent's own words and exit code; without an agent the same words say that.
function Show-Status {
    $format = 'text'
    if ($env:NIGHTKEEP_FORMAT) {
        $format = $env:NIGHTKEEP_FORMAT
    }
    if (Test-Path -LiteralPath $Agent) {
        & $Agent status --format $format
        $Host.SetShouldExit($LASTEXITCODE)
        exit $LASTEXITCODE
    }
    $summary = 'UNKNOWN: the Nightkeep agent is not installed'
    $code = 1
    if ($format -eq 'datto') {
        Write-Output '<-Start Result->' "STATUS=$summary" '<-End Result->'
    } elseif ($format -eq 'checkmk') {
        Write-Output "3 `"Nightkeep Backup`" - $summary"
        $code = 0
    } elseif ($format -eq 'automate') {
        Write-Output 'Status=UNKNOWN' $summary
        $code = 0
    } elseif ($format -eq 'prometheus') {
        Write-Output '# HELP nightkeep_agent_up Whether the agent answers.' '# TYPE nightkeep_agent_up gauge' 'nightkeep_agent_up 0'
        $code = 0
    } elseif ($format -eq 'json') {
        Write-Output '{"error":"not-installed"}'
    } else {
        Write-Output $summary
        if ($format -eq 'nagios' -or $format -eq 'tactical') {
            $code = 3
        } elseif ($format -eq 'nsight') {
            $code = 1001
        }
    }
    $Host.SetShouldExit($code)
    exit $code
}

# ---- The way

try {
    if ($Action -eq 'status') {
        Show-Status
    }
    if (@('install', 'install-with-monitor', 'update', 'uninstall') -notcontains $Action) {
        Stop-Run 'PropertyError' 'the action is install, install-with-monitor, update, uninstall or status'
    }
    $Work = New-Work
    $Installed = Get-InstalledVersion
    if ($Action -eq 'install') {
        Install-Agent $false
    } elseif ($Action -eq 'install-with-monitor') {
        Install-Agent $true
    } elseif ($Action -eq 'update') {
        if (-not $Installed) {
            Complete-Run 'NotInstalled' 'nothing to update' 0
        }
        Install-Agent $false
    } else {
        Uninstall-Agent
    }
} catch {
    Stop-Run 'Failed' $_.Exception.Message
} finally {
    if ($Work -and (Test-Path -LiteralPath $Work)) {
        Remove-Item -LiteralPath $Work -Recurse -Force -ErrorAction SilentlyContinue
    }
}
