//! Windows: the service control manager, through the crate that knows its protocol.
//!
//! A service is started by the manager as any program; within half a minute it must report to it, from then on answer its
//! controls, and tell each change of its own state. A process that was not started so learns it from the attempt to report.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use windows_service::service::{
    ServiceAccess, ServiceAction, ServiceActionType, ServiceControl, ServiceControlAccept, ServiceErrorControl,
    ServiceExitCode, ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceSidType, ServiceStartType,
    ServiceState as Reported, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::service_manager::{ServiceManager as Manager, ServiceManagerAccess};
use windows_service::{define_windows_service, service_dispatcher};
use windows_sys::Win32::Foundation::{
    ERROR_FAILED_SERVICE_CONTROLLER_CONNECT, ERROR_SERVICE_ALREADY_RUNNING, ERROR_SERVICE_DATABASE_LOCKED,
    ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_MARKED_FOR_DELETE, ERROR_SERVICE_NOT_ACTIVE,
};

use super::{Definition, ServiceBody, ServiceManager, ServiceState};
use crate::event_log;

/// A service that failed is started again after this, three times in a row.
const RESTART_AFTER: Duration = Duration::from_secs(60);
/// After a day without failure they count anew.
const FAILURES_FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// So long an orderly end may take: a backup that runs is interrupted at its next block.
const STOP_HINT: Duration = Duration::from_secs(45);
/// How long to wait for a start or an end before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(100);

/// What the manager's thread shall run; taken by it once.
static BODY: Mutex<Option<(String, ServiceBody)>> = Mutex::new(None);
/// The line to the manager while this process is a service.
static LINE: OnceLock<ServiceStatusHandle> = OnceLock::new();

define_windows_service!(service_main, serve);

pub(super) fn manager() -> Option<ServiceManager> {
    Some(ServiceManager::ServiceControlManager { supervised: LINE.get().is_some() })
}

pub(super) fn notify_ready() -> io::Result<bool> {
    report(Reported::Running, ServiceControlAccept::STOP | ServiceControlAccept::PRESHUTDOWN, Duration::ZERO)
}

pub(super) fn notify_stopping() -> io::Result<bool> {
    report(Reported::StopPending, ServiceControlAccept::empty(), STOP_HINT)
}

pub(super) fn supervise(name: &str, body: ServiceBody) -> io::Result<bool> {
    *lock() = Some((name.to_owned(), body));
    match service_dispatcher::start(name, service_main) {
        Ok(()) => Ok(true),
        Err(error) if code_of(&error) == Some(ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) => Ok(false),
        Err(error) => Err(to_io(error)),
    }
}

/// The service's own thread, from its first report to its last.
fn serve(_arguments: Vec<OsString>) {
    let Some((name, body)) = lock().take() else { return };
    let (ask, asked): (Sender<()>, Receiver<()>) = channel();
    let handler = move |control| match control {
        ServiceControl::Stop | ServiceControl::Preshutdown | ServiceControl::Shutdown => {
            let _ = notify_stopping();
            // Whoever would listen may have ended already.
            let _ = ask.send(());
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    let Ok(line) = service_control_handler::register(&name, handler) else { return };
    let line = *LINE.get_or_init(|| line);
    let _ = report(Reported::StartPending, ServiceControlAccept::empty(), PATIENCE);
    let in_order = body(asked);
    let exit_code = if in_order { ServiceExitCode::NO_ERROR } else { ServiceExitCode::ServiceSpecific(1) };
    let last = status(Reported::Stopped, ServiceControlAccept::empty(), Duration::ZERO);
    let _ = line.set_service_status(ServiceStatus { exit_code, ..last });
}

fn report(state: Reported, accepted: ServiceControlAccept, wait_hint: Duration) -> io::Result<bool> {
    let Some(line) = LINE.get() else { return Ok(false) };
    line.set_service_status(status(state, accepted, wait_hint)).map_err(to_io)?;
    Ok(true)
}

fn status(current_state: Reported, controls_accepted: ServiceControlAccept, wait_hint: Duration) -> ServiceStatus {
    ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state,
        controls_accepted,
        exit_code: ServiceExitCode::NO_ERROR,
        checkpoint: 0,
        wait_hint,
        process_id: None,
    }
}

pub(super) fn install(definition: &Definition<'_>) -> io::Result<Vec<String>> {
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = Manager::local_computer(None::<&str>, access).map_err(to_io)?;
    let info = ServiceInfo {
        name: definition.name.into(),
        display_name: definition.display_name.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: definition.program.to_owned(),
        launch_arguments: definition.arguments.clone(),
        dependencies: Vec::new(),
        account_name: None,
        account_password: None,
    };
    let access = ServiceAccess::QUERY_CONFIG | ServiceAccess::CHANGE_CONFIG | ServiceAccess::START;
    let service = match manager.open_service(definition.name, access) {
        Ok(service) => service.change_config(&info).map(|()| service),
        Err(error) if code_of(&error) == Some(ERROR_SERVICE_DOES_NOT_EXIST) => manager.create_service(&info, access),
        Err(error) => Err(error),
    };
    let service = service.map_err(to_io)?;
    service.set_description(definition.description).map_err(to_io)?;
    let restart = ServiceAction { action_type: ServiceActionType::Restart, delay: RESTART_AFTER };
    let failures = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(FAILURES_FORGOTTEN_AFTER),
        reboot_msg: None,
        command: None,
        actions: Some(vec![restart.clone(), restart.clone(), restart]),
    };
    service.update_failure_actions(failures).map_err(to_io)?;
    // Older managers, and those of other makers, lack some of these, and a service runs without them.
    let finer = [
        ("start again after an error that it reports itself", service.set_failure_actions_on_non_crash_failures(true)),
        ("start a little after the system", service.set_delayed_auto_start(true)),
        ("have an identity of its own", service.set_config_service_sid_info(ServiceSidType::Unrestricted)),
        ("end in order when the system shuts down", service.set_preshutdown_timeout(STOP_HINT)),
    ];
    let finer = finer.into_iter().map(|(what, result)| (what, result.map_err(to_io)));
    let words = ("show its events in words", event_log::register(definition.name, definition.program));
    let refused = finer.chain([words]).filter_map(|(what, result)| Some((what, result.err()?)));
    Ok(refused.map(|(what, error)| format!("{what}: {error}")).collect())
}

pub(super) fn uninstall(name: &str) -> io::Result<()> {
    let access = ServiceAccess::QUERY_STATUS | ServiceAccess::STOP | ServiceAccess::DELETE;
    let Some(service) = open(name, access)? else { return Ok(()) };
    stop(name)?;
    event_log::unregister(name)?;
    match service.delete() {
        Err(error) if code_of(&error) != Some(ERROR_SERVICE_MARKED_FOR_DELETE) => Err(to_io(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(super) fn start(name: &str) -> io::Result<()> {
    let service = installed(name, ServiceAccess::QUERY_STATUS | ServiceAccess::START)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match service.start::<&OsStr>(&[]) {
            Ok(()) => break,
            Err(error) if code_of(&error) == Some(ERROR_SERVICE_ALREADY_RUNNING) => break,
            // Right after the system's start the manager is busy with its own.
            Err(error) if code_of(&error) == Some(ERROR_SERVICE_DATABASE_LOCKED) && Instant::now() < deadline => {
                std::thread::sleep(LOOK);
            }
            Err(error) => return Err(to_io(error)),
        }
    }
    wait_for(&service, ServiceState::Running, deadline)
}

pub(super) fn stop(name: &str) -> io::Result<()> {
    let service = installed(name, ServiceAccess::QUERY_STATUS | ServiceAccess::STOP)?;
    match service.stop() {
        Err(error) if code_of(&error) == Some(ERROR_SERVICE_NOT_ACTIVE) => return Ok(()),
        Err(error) if is(&service, ServiceState::Stopping)? => drop(error),
        other => drop(other.map_err(to_io)?),
    }
    wait_for(&service, ServiceState::Stopped, Instant::now() + PATIENCE)
}

pub(super) fn state(name: &str) -> io::Result<Option<ServiceState>> {
    open(name, ServiceAccess::QUERY_STATUS)?.map(|service| state_of(&service)).transpose()
}

type Service = windows_service::service::Service;

fn open(name: &str, access: ServiceAccess) -> io::Result<Option<Service>> {
    let manager = Manager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).map_err(to_io)?;
    match manager.open_service(name, access) {
        Err(error) if code_of(&error) == Some(ERROR_SERVICE_DOES_NOT_EXIST) => Ok(None),
        other => other.map(Some).map_err(to_io),
    }
}

fn installed(name: &str, access: ServiceAccess) -> io::Result<Service> {
    open(name, access)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no service {name}")))
}

fn state_of(service: &Service) -> io::Result<ServiceState> {
    Ok(match service.query_status().map_err(to_io)?.current_state {
        Reported::Running | Reported::Paused | Reported::PausePending => ServiceState::Running,
        Reported::StartPending | Reported::ContinuePending => ServiceState::Starting,
        Reported::StopPending => ServiceState::Stopping,
        Reported::Stopped => ServiceState::Stopped,
    })
}

fn is(service: &Service, wanted: ServiceState) -> io::Result<bool> {
    Ok(state_of(service)? == wanted)
}

/// Waits for a state. A service that stops while its start is waited for has failed.
fn wait_for(service: &Service, wanted: ServiceState, deadline: Instant) -> io::Result<()> {
    loop {
        match state_of(service)? {
            state if state == wanted => return Ok(()),
            ServiceState::Stopped => return Err(io::Error::other("the service ended right away; its log says why")),
            state if Instant::now() >= deadline => {
                let message = format!("the service is still {state:?} after {} seconds", PATIENCE.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message.to_lowercase()));
            }
            _ => std::thread::sleep(LOOK),
        }
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<(String, ServiceBody)>> {
    BODY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn code_of(error: &windows_service::Error) -> Option<u32> {
    match error {
        windows_service::Error::Winapi(error) => error.raw_os_error().and_then(|code| u32::try_from(code).ok()),
        _ => None,
    }
}

fn to_io(error: windows_service::Error) -> io::Error {
    match error {
        windows_service::Error::Winapi(error) => error,
        other => io::Error::other(other),
    }
}
