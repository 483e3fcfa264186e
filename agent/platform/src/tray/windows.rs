//! Windows: an icon in the notification area, by a window that nobody sees.
//!
//! The window has a thread of its own, because messages come to the thread that made it. What is shown is kept beside it; a
//! new look is put there and the window told.
//!
//! **Invariant**: no lock is held while the menu is open, because messages come in meanwhile.
#![expect(unsafe_code, reason = "windows, menus and icons are handles of Windows")]

#[path = "windows/icon.rs"]
mod icon;
#[path = "windows/menu.rs"]
mod menu;

use std::io;
use std::mem::size_of;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, GetLastError, HWND, LPARAM, LRESULT, WPARAM};
use windows_sys::Win32::System::LibraryLoader::GetModuleHandleW;
use windows_sys::Win32::System::Threading::CreateMutexW;
use windows_sys::Win32::UI::Shell::{
    NIF_ICON, NIF_MESSAGE, NIF_SHOWTIP, NIF_TIP, NIM_ADD, NIM_DELETE, NIM_MODIFY, NIM_SETVERSION, NIN_SELECT,
    NOTIFY_ICON_MESSAGE, NOTIFYICON_VERSION_4, NOTIFYICONDATAW, Shell_NotifyIconW,
};
use windows_sys::Win32::UI::WindowsAndMessaging::{
    CreateWindowExW, DefWindowProcW, DestroyWindow, DispatchMessageW, GWLP_USERDATA, GetMessageW, GetSystemMetrics,
    GetWindowLongPtrW, KillTimer, MSG, PostMessageW, PostQuitMessage, RegisterClassExW, RegisterWindowMessageW,
    SM_CXSMICON, SetProcessDPIAware, SetTimer, SetWindowLongPtrW, WM_APP, WM_CLOSE, WM_CONTEXTMENU, WM_DESTROY,
    WM_LBUTTONUP, WM_RBUTTONUP, WM_TIMER, WNDCLASSEXW,
};

use super::{Answer, Look};
use crate::nt::wide;
use icon::OwnedIcon;
use menu::Menu;

/// The shell tells us about the icon by this message.
const WM_ICON: u32 = WM_APP + 1;
/// There is a new look.
const WM_LOOK: u32 = WM_APP + 2;
/// Our only icon, and our only timer.
const ICON: u32 = 1;
const TIMER: usize = 1;
/// The shell may start after us; it is asked again this often.
const ASK_AGAIN_MILLISECONDS: u32 = 2000;
/// What a tooltip holds, its end included.
const TIP_UNITS: usize = 128;
/// A version 4 icon is chosen with the keyboard by this, which windows-sys lacks: `NIN_KEYSELECT`.
const NIN_KEYSELECT: u32 = NIN_SELECT | 1;

pub(super) fn edges() -> Vec<u32> {
    // SAFETY: numbers go in and come out. Told first, so that the desktop does not blow up a small icon.
    let edge = unsafe {
        SetProcessDPIAware();
        GetSystemMetrics(SM_CXSMICON)
    };
    vec![u32::try_from(edge).unwrap_or(0).max(16)]
}

/// What the window and its owner share.
struct Shared<A> {
    look: Mutex<Look<A>>,
    clicks: Mutex<Option<mpsc::Sender<A>>>,
    /// Whether the shell has our icon.
    is_added: AtomicBool,
    /// Whether it speaks of events as it has since Windows Vista.
    is_modern: AtomicBool,
    /// The message by which a shell that starts tells everybody.
    taskbar_created: AtomicU32,
}

pub(super) struct Tray<A: Answer> {
    shared: Arc<Shared<A>>,
    /// A number, as handles of windows may be used from any thread.
    window: usize,
    thread: Option<JoinHandle<()>>,
    /// Held for as long as the sign is there: a second one beside it would confuse.
    _only_one: OwnedHandle,
}

impl<A: Answer> std::fmt::Debug for Tray<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tray").field("window", &self.window).finish_non_exhaustive()
    }
}

impl<A: Answer> Tray<A> {
    pub(super) async fn open(name: &'static str, look: Look<A>, clicks: mpsc::Sender<A>) -> io::Result<Self> {
        let only_one = claim(name)?;
        let shared = Arc::new(Shared {
            look: Mutex::new(look),
            clicks: Mutex::new(Some(clicks)),
            is_added: AtomicBool::new(false),
            is_modern: AtomicBool::new(false),
            taskbar_created: AtomicU32::new(0),
        });
        let (told, window) = oneshot::channel();
        let of_window = shared.clone();
        let thread = std::thread::Builder::new().name("tray".to_owned()).spawn(move || {
            live(name, &of_window, told);
            // Whoever waits for clicks learns that there will be none.
            of_window.clicks.lock().unwrap_or_else(PoisonError::into_inner).take();
        })?;
        let window = window.await.map_err(|_| io::Error::other("the thread of the tray ended"))??;
        Ok(Self { shared, window, thread: Some(thread), _only_one: only_one })
    }

    #[expect(clippy::unused_async, reason = "other systems wait for their desktop here")]
    pub(super) async fn show(&self, look: Look<A>) -> bool {
        *self.shared.look() = look;
        self.post(WM_LOOK)
    }

    #[expect(clippy::unused_async, reason = "other systems wait for their desktop here")]
    pub(super) async fn close(mut self) {
        self.post(WM_CLOSE);
        if let Some(thread) = self.thread.take() {
            // It ends at once; a fault in it has been told by then.
            let _ = thread.join();
        }
    }

    fn post(&self, message: u32) -> bool {
        // SAFETY: a window that is gone by now is refused.
        unsafe { PostMessageW(self.window as HWND, message, 0, 0) != 0 }
    }
}

/// Takes the one place there is for a sign of this name in this session.
fn claim(name: &str) -> io::Result<OwnedHandle> {
    let name = wide(&format!("Local\\{name}"));
    // SAFETY: the text ends with a zero; the handle is ours.
    unsafe {
        let handle = CreateMutexW(null(), 0, name.as_ptr());
        let error = GetLastError();
        if handle.is_null() {
            return Err(io::Error::from_raw_os_error(error as i32));
        }
        let handle = OwnedHandle::from_raw_handle(handle);
        if error == ERROR_ALREADY_EXISTS { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(handle) }
    }
}

/// The thread of the window.
fn live<A: Answer>(name: &str, shared: &Arc<Shared<A>>, told: oneshot::Sender<io::Result<usize>>) {
    match window(name, shared) {
        Err(error) => _ = told.send(Err(error)),
        Ok(window) => {
            shared.add(window);
            let _ = told.send(Ok(window as usize));
            dispatch();
        }
    }
}

fn window<A: Answer>(name: &str, shared: &Arc<Shared<A>>) -> io::Result<HWND> {
    let (class_name, created) = (wide(name), wide("TaskbarCreated"));
    // SAFETY: texts end with a zero and outlive the calls; the shared state outlives the window, whose thread holds it.
    unsafe {
        shared.taskbar_created.store(RegisterWindowMessageW(created.as_ptr()), Ordering::Relaxed);
        let class = WNDCLASSEXW {
            cbSize: size_of::<WNDCLASSEXW>() as u32,
            lpfnWndProc: Some(procedure::<A>),
            hInstance: GetModuleHandleW(null()),
            lpszClassName: class_name.as_ptr(),
            ..WNDCLASSEXW::default()
        };
        if RegisterClassExW(&raw const class) == 0 {
            return Err(io::Error::last_os_error());
        }
        // Not one for messages alone: to those a shell that starts says nothing.
        let window = CreateWindowExW(
            0,
            class_name.as_ptr(),
            class_name.as_ptr(),
            0,
            0,
            0,
            0,
            0,
            null_mut(),
            null_mut(),
            class.hInstance,
            null(),
        );
        if window.is_null() {
            return Err(io::Error::last_os_error());
        }
        SetWindowLongPtrW(window, GWLP_USERDATA, Arc::as_ptr(shared) as isize);
        Ok(window)
    }
}

/// Hands messages on until the window is gone.
fn dispatch() {
    let mut message = MSG::default();
    // SAFETY: the message lives until the calls return.
    unsafe {
        while GetMessageW(&raw mut message, null_mut(), 0, 0) > 0 {
            DispatchMessageW(&raw const message);
        }
    }
}

unsafe extern "system" fn procedure<A: Answer>(window: HWND, message: u32, wparam: WPARAM, lparam: LPARAM) -> LRESULT {
    // SAFETY: the pointer is none or the state that the window's thread holds while the window is there.
    let shared = unsafe { (GetWindowLongPtrW(window, GWLP_USERDATA) as *const Shared<A>).as_ref() };
    let Some(shared) = shared else {
        // SAFETY: what came in goes on.
        return unsafe { DefWindowProcW(window, message, wparam, lparam) };
    };
    match message {
        WM_ICON => shared.event(window, lparam as u32 & 0xFFFF),
        WM_LOOK => shared.refresh(window),
        WM_TIMER => shared.add(window),
        // SAFETY: it is our window, on its own thread.
        WM_CLOSE => unsafe { _ = DestroyWindow(window) },
        WM_DESTROY => {
            shared.notify(window, NIM_DELETE, None);
            // SAFETY: nothing but a number goes in.
            unsafe { PostQuitMessage(0) };
        }
        _ if message == shared.taskbar_created.load(Ordering::Relaxed) => {
            shared.is_added.store(false, Ordering::Relaxed);
            shared.add(window);
        }
        // SAFETY: what came in goes on.
        _ => return unsafe { DefWindowProcW(window, message, wparam, lparam) },
    }
    0
}

impl<A: Answer> Shared<A> {
    fn look(&self) -> MutexGuard<'_, Look<A>> {
        self.look.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the shell our icon; asks again later when it has no ear yet.
    fn add(&self, window: HWND) {
        if self.is_added.load(Ordering::Relaxed) {
            return;
        }
        let icon = OwnedIcon::of(&self.look().icons);
        let is_added = self.notify(window, NIM_ADD, icon.as_ref());
        self.is_added.store(is_added, Ordering::Relaxed);
        if is_added {
            let is_modern = self.notify(window, NIM_SETVERSION, icon.as_ref());
            self.is_modern.store(is_modern, Ordering::Relaxed);
        }
        // SAFETY: it is our window and our timer, which may not be there.
        unsafe {
            match is_added {
                true => _ = KillTimer(window, TIMER),
                false => _ = SetTimer(window, TIMER, ASK_AGAIN_MILLISECONDS, None),
            }
        }
    }

    fn refresh(&self, window: HWND) {
        if !self.is_added.load(Ordering::Relaxed) {
            return self.add(window);
        }
        let icon = OwnedIcon::of(&self.look().icons);
        if !self.notify(window, NIM_MODIFY, icon.as_ref()) {
            // The shell forgot it, or is gone.
            self.is_added.store(false, Ordering::Relaxed);
            self.add(window);
        }
    }

    /// Tells the shell about our icon; whether it heard.
    fn notify(&self, window: HWND, message: NOTIFY_ICON_MESSAGE, icon: Option<&OwnedIcon>) -> bool {
        let mut data = NOTIFYICONDATAW {
            cbSize: size_of::<NOTIFYICONDATAW>() as u32,
            hWnd: window,
            uID: ICON,
            uFlags: NIF_MESSAGE | NIF_TIP | NIF_SHOWTIP | if icon.is_some() { NIF_ICON } else { 0 },
            uCallbackMessage: WM_ICON,
            hIcon: icon.map_or(null_mut(), |icon| icon.0),
            ..NOTIFYICONDATAW::default()
        };
        data.Anonymous.uVersion = NOTIFYICON_VERSION_4;
        let tip = short(&self.look().tooltip);
        data.szTip[..tip.len()].copy_from_slice(&tip);
        // SAFETY: the structure is as long as it says, and the shell copies what it keeps.
        unsafe { Shell_NotifyIconW(message, &raw const data) != 0 }
    }

    /// Something happened to the icon.
    fn event(&self, window: HWND, event: u32) {
        let opens = match self.is_modern.load(Ordering::Relaxed) {
            true => matches!(event, WM_CONTEXTMENU | NIN_SELECT | NIN_KEYSELECT),
            false => matches!(event, WM_RBUTTONUP | WM_LBUTTONUP),
        };
        if !opens {
            return;
        }
        let look = self.look().clone();
        let Some(answer) = Menu::of(&look.menu).and_then(|menu| menu.ask(window)) else { return };
        let clicks = self.clicks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clicks) = clicks.as_ref() {
            // With that many clicks waiting one more is not missed.
            let _ = clicks.try_send(answer);
        }
    }
}

/// As much of a text as a tooltip holds, with its end; never half a character.
fn short(text: &str) -> Vec<u16> {
    let mut units = Vec::with_capacity(TIP_UNITS);
    for character in text.chars() {
        if units.len() + character.len_utf16() >= TIP_UNITS {
            break;
        }
        units.extend_from_slice(character.encode_utf16(&mut [0; 2]));
    }
    units.push(0);
    units
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_tooltip_is_cut_between_characters_and_ends_with_a_zero() {
        assert_eq!(short("ok"), [u16::from(b'o'), u16::from(b'k'), 0]);
        let long = short(&"\u{1F4BE}".repeat(100));
        assert_eq!((long.len(), long[125], long[126]), (127, 0xDCBE, 0));
    }
}
